from __future__ import annotations

import numpy as np
import pytest
import torch

from nni_wcnas.functional.decorrelation import decorrelation


def test_is_the_mean_of_numpys_squared_correlations():
    torch.manual_seed(0)
    features = torch.randn(7, 5, dtype=torch.float64) @ torch.randn(5, 5, dtype=torch.float64) + 3
    correlation = np.corrcoef(features.numpy(), rowvar=False)
    pairs = [correlation[i, j] ** 2 for i in range(5) for j in range(5) if i != j]
    assert len(pairs) == 20
    assert decorrelation(features).item() == pytest.approx(np.mean(pairs), rel=1e-12)


def test_has_no_scale_and_no_offset():
    torch.manual_seed(0)
    features = torch.randn(9, 4, dtype=torch.float64)
    value = decorrelation(features)
    assert 0 < value < 1
    moved = features * torch.tensor([1e-3, 1.0, -5.0, 1e3]) + torch.tensor([0.0, 2.0, -7.0, 100.0])
    torch.testing.assert_close(decorrelation(moved), value, rtol=1e-10, atol=0)
    more = torch.cat((features, features.flip(0)))  # A larger batch, and more features: still a mean.
    assert 0 < decorrelation(torch.cat((more, more.roll(1, 0)), 1)) < 1


def test_is_one_for_multiples_of_one_feature():
    feature = torch.randn(6, 1, dtype=torch.float64)
    assert decorrelation(feature * torch.tensor([1.0, -2.0, 0.1])).item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize('constant', [0.0, 0.1, 1e4])
def test_a_constant_feature_is_correlated_with_none(constant):
    """As a dead unit's, or one that differs by rounding alone; its gradient is zero, and that of the others finite."""
    torch.manual_seed(0)
    features = torch.randn(8, 3)
    features[:, 1] = constant
    features.requires_grad_()
    value = decorrelation(features)
    with torch.no_grad():
        others = decorrelation(features[:, [0, 2]])
    torch.testing.assert_close(value.detach(), others * 2 / 6)
    (slope,) = torch.autograd.grad(value, features)
    assert slope.isfinite().all() and (slope[:, 1] == 0).all() and slope[:, 0].abs().max() > 0


def test_gradient():
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(decorrelation, torch.randn(5, 3, dtype=torch.float64, requires_grad=True))


def test_zero_for_one_example_one_feature_and_uncorrelated_features():
    assert decorrelation(torch.randn(1, 4)).item() == 0
    assert decorrelation(torch.randn(4, 1)).item() == 0
    assert decorrelation(torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])).item() == 0


def test_feature_maps_are_refused():
    with pytest.raises(ValueError, match='flatten'):
        decorrelation(torch.zeros(2, 3, 4, 4))
