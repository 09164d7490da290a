"""Core-sets: a few points, chosen from many so that each of the many is near one of them, by greedy k-centre selection.

::

    chosen = [first point]
    repeat: add the point that is farthest from its nearest chosen one

The largest distance from a point to its nearest chosen one is at most twice the best possible.

References
----------
Gonzalez, Clustering to Minimize the Maximum Intercluster Distance, 1985; Sinha et al., Small-GAN: Speeding up GAN
Training using Core-sets, ICML 2020, algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ['core_set', 'embedded']

_SIDE = 8
_DIMENSIONS = 32
"""Length of the projections, as in Small-GAN."""


@torch.no_grad()
def core_set(points: Tensor, count: int) -> Tensor:
    """Return the indices of a core-set of ``count`` points among points ``(N, D)``, shape ``(count,)``.

    The first point is always chosen; of equally far points, the first one is.

    Raises
    ------
    ValueError
        If ``count`` is below 1, or there are fewer points than that.

    Examples
    --------
    >>> core_set(torch.tensor([[0.0], [0.1], [5.0], [2.0]]), 3)
    tensor([0, 2, 3])
    """
    if not 1 <= count <= len(points):
        raise ValueError(f'A core-set of {count} of {len(points)} points cannot be chosen; ask for 1 to {len(points)}.')
    chosen = torch.zeros(count, dtype=torch.long, device=points.device)
    # Squared distance of each point to its nearest chosen one. Updating it costs one pass over the points for each
    # choice, O(count N D) in all; squares have the same order as distances.
    nearest = (points - points[0]).square().sum(dim=1)
    for place in range(1, count):
        chosen[place] = nearest.argmax()
        nearest = torch.minimum(nearest, (points - points[chosen[place]]).square().sum(dim=1))
    return chosen


def embedded(images: Tensor) -> Tensor:
    """Turn images ``(N, 3, H, W)`` into points ``(N, 32)``: average them to 8 x 8 pixels, then project at random.

    Small-GAN projects features of an Inception network, which is a download; distances of averaged pixels cost nothing.
    """
    pixels = F.adaptive_avg_pool2d(images, _SIDE).flatten(1)
    # A generator of its own: images that come in several calls are projected alike, and the global random state stays.
    random = torch.Generator().manual_seed(0)
    # Entries of variance 1 / 32 keep squared distances on average (Johnson and Lindenstrauss).
    projection = torch.randn(pixels.shape[1], _DIMENSIONS, generator=random) / _DIMENSIONS ** 0.5
    return pixels @ projection.to(pixels)
