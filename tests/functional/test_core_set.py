"""Core-sets against all selections of a few points."""

from itertools import combinations

import pytest
import torch

from nni_wcnas.functional.core_set import core_set, embedded


def radius(points, chosen):
    """The largest distance from a point to its nearest chosen one."""
    return torch.cdist(points, points[torch.as_tensor(chosen)]).min(dim=1).values.max().item()


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('count', [1, 2, 4])
def test_at_most_twice_the_best_radius(seed, count):
    points = torch.randn(10, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    best = min(radius(points, chosen) for chosen in combinations(range(10), count))
    chosen = core_set(points, count)
    assert len(set(chosen.tolist())) == count
    assert best <= radius(points, chosen) <= 2 * best + 1e-12


def test_each_new_point_is_the_farthest():
    points = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    chosen = core_set(points, 6)
    for place in range(1, 6):
        distances = torch.cdist(points, points[chosen[:place]]).min(dim=1).values
        assert distances[chosen[place]] == distances.max()


@pytest.mark.parametrize('count', [0, 4])
def test_impossible_counts(count):
    with pytest.raises(ValueError, match=f'core-set of {count} of 3 points cannot be chosen; ask for 1 to 3'):
        core_set(torch.zeros(3, 2), count)


def test_embedding_keeps_distances():
    """A random projection to 32 dimensions: squared distances of averaged pixels within a factor, on average right."""
    images = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    images = images + torch.linspace(-1, 1, 40, dtype=torch.float64).view(-1, 1, 1, 1)
    averaged = torch.nn.functional.avg_pool2d(images, 4).flatten(1)
    ratio = torch.pdist(embedded(images)) ** 2 / torch.pdist(averaged) ** 2
    assert embedded(images).shape == (40, 32)
    assert 0.5 < ratio.mean() < 1.5 and ratio.min() > 0.1
    assert torch.equal(embedded(images), embedded(images))
