"""Coverage of one set by another, against loops over all pairs and against sets where it is known."""

import pytest
import torch

from nni_wcnas.functional import precision_recall as module
from nni_wcnas.functional.precision_recall import precision_recall


def drawn(count, seed, shift=0.0, size=4):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def covered(points, by, k):
    """Kynkäänniemi et al., equation 1, one pair at a time."""
    radii = [sorted((by[i] - by[j]).norm().item() for j in range(len(by)) if j != i)[k - 1] for i in range(len(by))]
    inside = [any((point - by[i]).norm().item() <= radii[i] for i in range(len(by))) for point in points]
    return sum(inside) / len(points)


@pytest.mark.parametrize('k', [1, 3, 5])
@pytest.mark.parametrize('rows', [7, 1000])
def test_loops_over_all_pairs(k, rows, monkeypatch):
    monkeypatch.setattr(module, '_ROWS', rows)
    real, generated = drawn(30, 0), drawn(22, 1, shift=0.7)
    found = precision_recall(real, generated, k)
    assert found == pytest.approx((covered(generated, real, k), covered(real, generated, k)))
    assert min(found) > 0 and max(found) < 1


def test_equal_and_distant_sets():
    points = drawn(40, 0)
    assert precision_recall(points, points[torch.randperm(40)]) == (1, 1)
    assert precision_recall(points, points + 100) == (0, 0)
    assert precision_recall(points.repeat(5, 1), points) == (1, 1), 'equal points have balls of no size'


def test_one_kind_of_image_is_precise_and_misses_the_others():
    """Real images of two kinds; the generated ones are of one."""
    real = torch.cat([drawn(50, 0), drawn(50, 1, shift=50)])
    precision, recall = precision_recall(real, drawn(50, 2))
    assert precision > 0.7 and recall < 0.5
    swapped = precision_recall(drawn(50, 2), real)
    assert swapped == (recall, precision)


def test_farther_neighbours_cover_more():
    real, generated = drawn(60, 0), drawn(60, 1, shift=0.5)
    found = [precision_recall(real, generated, k) for k in (1, 3, 10)]
    assert found == sorted(found) and found[0][0] < found[2][0] and found[0][1] < found[2][1]


def test_too_few_points():
    with pytest.raises(ValueError, match='k must be at least 1, not 0'):
        precision_recall(drawn(4, 0), drawn(4, 0), k=0)
    with pytest.raises(ValueError, match='There are 9 real and 3 generated points, too few for k=3 .* at least 4 of'):
        precision_recall(drawn(9, 0), drawn(3, 0))
