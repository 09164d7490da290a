from __future__ import annotations

import pytest
import torch

from nni_wcnas.functional.decorrelation import decorrelation


def test_against_plain_loops():
    torch.manual_seed(0)
    features = torch.randn(7, 5, dtype=torch.float64)
    count, width = features.shape
    total = 0.0
    for i in range(width):
        for j in range(width):
            if i == j:
                continue
            mean_i = sum(features[n, i].item() for n in range(count)) / count
            mean_j = sum(features[n, j].item() for n in range(count)) / count
            products = [(features[n, i].item() - mean_i) * (features[n, j].item() - mean_j) for n in range(count)]
            total += 0.5 * (sum(products) / count) ** 2
    assert decorrelation(features).item() == pytest.approx(total, rel=1e-12)


def test_gradient():
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(decorrelation, torch.randn(5, 3, dtype=torch.float64, requires_grad=True))


def test_zero_for_one_example_and_for_uncorrelated_features():
    assert decorrelation(torch.randn(1, 4)).item() == 0
    assert decorrelation(torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])).item() == 0


def test_feature_maps_are_refused():
    with pytest.raises(ValueError, match='flatten'):
        decorrelation(torch.zeros(2, 3, 4, 4))
