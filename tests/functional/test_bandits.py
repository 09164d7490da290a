"""Draws by hardness against their distribution, bounds against their formula."""

import itertools
import math

import pytest
import torch

from nni_wcnas.functional.bandits import drawn, optimistic, probabilities


def test_probabilities():
    hardness = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    expected = torch.tensor([math.exp(4 * h / 2) for h in (1, 2, 3)], dtype=torch.float64)
    torch.testing.assert_close(probabilities(hardness, 4.0), expected / expected.sum())
    torch.testing.assert_close(probabilities(torch.zeros(4), 20.0), torch.full((4,), 0.25))


def test_draws_without_replacement():
    """How often each pair comes, against p_i p_j / (1 - p_i) + p_j p_i / (1 - p_j)."""
    torch.manual_seed(0)
    p = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(8000):
        pair = tuple(drawn(p, 2).nonzero().flatten().tolist())
        counts[pair] = counts.get(pair, 0) + 1
    for i, j in itertools.combinations(range(4), 2):
        a, b = p[i].item(), p[j].item()
        assert counts[i, j] / 8000 == pytest.approx(a * b / (1 - a) + b * a / (1 - b), abs=0.02)


def test_bounds():
    mean, count = torch.tensor([1.0, 3.0]), torch.tensor([4.0, 1.0])
    bonus = 1e-3 * 2.0 * math.sqrt(2 * math.log(5))
    torch.testing.assert_close(optimistic(mean, count, 5), torch.tensor([1 + bonus / 2, 3 + bonus]))
    assert torch.equal(optimistic(mean, count, 1), mean), 'no bonus in the first episode'
