"""Closed-form weights against brute force over v."""

import math

import pytest
import torch

from nni_wcnas.functional.self_paced import easy_weights

LOSSES = torch.tensor([0.0, 0.05, 0.2, 0.299, 0.35, 0.6, 0.61, 0.9, 1.0], dtype=torch.float64)


def penalty(v, threshold, regularizer):
    if regularizer == 'binary':
        return -threshold * v
    if regularizer == 'linear':
        return threshold * (v.square() / 2 - v)
    if regularizer == 'logarithmic':
        rest = 1 - threshold
        return rest * v - rest**v / math.log(rest)
    # z = lambda1 lambda2 / (lambda1 - lambda2) of the paper, for lambda2 = lambda1 / 2.
    scale = threshold * (threshold / 2) / (threshold - threshold / 2)
    return -scale * (v + scale / threshold).log()


@pytest.mark.parametrize('threshold', [0.3, 0.6])
@pytest.mark.parametrize('regularizer', ['binary', 'linear', 'logarithmic', 'mixture'])
def test_against_brute_force(regularizer, threshold):
    """The least of v loss + f(v) over a grid of v."""
    grid = torch.linspace(0, 1, 20001, dtype=torch.float64)
    for loss, weight in zip(LOSSES, easy_weights(LOSSES, threshold, regularizer)):
        cost = grid * loss + penalty(grid, threshold, regularizer)
        assert grid[cost.argmin()] == pytest.approx(weight.item(), abs=1e-4) or cost.max() - cost.min() < 1e-9


def test_mixture_between_its_two_thresholds():
    """All of a loss at lambda2, nothing at lambda1."""
    first, second = 0.6, 0.3
    ends = easy_weights(torch.tensor([second, first]), first, 'mixture')
    torch.testing.assert_close(ends, torch.tensor([1.0, 0.0]))


def test_unknown_regularizer():
    with pytest.raises(ValueError, match="must be one of binary, linear, logarithmic, mixture, not 'square'"):
        easy_weights(LOSSES, 0.3, 'square')
