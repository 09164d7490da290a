"""Distances of features against the formulas."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from nni_wcnas.measure.image.feature_distance import FrechetDistance, kernel_distance


def drawn(count, seed, scale=1.0, shift=0.0, size=6):
    """Correlated features, not around 0."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    return torch.randn(count, size, generator=generator, dtype=torch.float64) @ mixing * scale + shift


def frechet(one, other):
    """Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, 2017."""
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    shift = one.mean(0) - other.mean(0)
    return shift @ shift + np.trace(first + second - 2 * sqrtm(first @ second).real)


def kernel(one, other):
    """Binkowski et al., Demystifying MMD GANs, 2018: the mean over pairs of different images, one at a time."""

    def mean(rows, columns, same):
        values = [
            (rows[i] @ columns[j] / rows.shape[1] + 1).item() ** 3
            for i in range(len(rows)) for j in range(len(columns)) if not (same and i == j)
        ]
        return sum(values) / len(values)

    return mean(one, one, True) + mean(other, other, True) - 2 * mean(one, other, False)


class TestFrechetDistance:
    @pytest.mark.parametrize(('scale', 'shift'), [(1.0, 0.0), (1.7, 0.0), (1.0, 0.4)])
    def test_formula(self, scale, shift):
        real, features = drawn(60, 0), drawn(45, 1, scale, shift)
        assert FrechetDistance(real)(features) == pytest.approx(frechet(real.numpy(), features.numpy()), rel=1e-6)

    def test_each_set_of_images_counts_alone(self):
        distance = FrechetDistance(drawn(60, 0))
        first = distance(drawn(45, 1))
        assert distance(drawn(45, 2, 3.0)) > first
        assert distance(drawn(45, 1)) == first
        assert distance(drawn(60, 0)) == pytest.approx(0, abs=1e-6)

    def test_not_finite(self):
        features = drawn(45, 1)
        features[2, 3] = math.inf
        assert math.isnan(FrechetDistance(drawn(60, 0))(features))
        assert math.isnan(FrechetDistance(features)(drawn(60, 0)))
        assert math.isnan(kernel_distance(features, drawn(60, 0), subsets=2))
        assert math.isnan(kernel_distance(drawn(60, 0), features, subsets=2))


class TestKernelDistance:
    @pytest.mark.parametrize('subset_size', [25, 1000])
    def test_formula_of_all_images(self, subset_size):
        real, features = drawn(25, 0), drawn(25, 1, 1.3, 0.2)
        found = kernel_distance(features, real, subsets=2, subset_size=subset_size)
        assert found == pytest.approx(kernel(real, features), rel=1e-6)

    def test_mean_over_subsets_is_unbiased(self):
        real, features = drawn(60, 0), drawn(40, 1, 1.3, 0.2)
        found = kernel_distance(features, real, subsets=3000, subset_size=15)
        assert found == pytest.approx(kernel(real, features), rel=0.05)
        assert kernel_distance(real[:20], real[20:40], subset_size=10) < 0 < found

    def test_options_act(self):
        real, features = drawn(60, 0), drawn(40, 1, 1.3, 0.2)
        state = torch.get_rng_state()

        def distance(**changed):
            return kernel_distance(features, real, **{'subsets': 5, 'subset_size': 10, 'seed': 0, **changed})

        assert distance() == distance()
        found = [distance(), distance(seed=1), distance(subsets=6), distance(subset_size=11)]
        assert len(set(found)) == 4
        assert torch.get_rng_state().equal(state)

    def test_not_finite(self):
        features = drawn(25, 1)
        features[2, 3] = math.nan
        assert math.isnan(kernel_distance(features, drawn(25, 0)))
