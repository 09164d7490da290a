"""How much of one set of images the other covers: improved precision and recall, by balls around neighbours.

Each point of a set has a ball around it that reaches to its k-th nearest neighbour in the same set. The set covers a
point that lies in one of its balls::

    precision = share of generated points that the real ones cover       are the images realistic?
    recall    = share of real points that the generated ones cover       are all kinds of images made?

Reference: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", NeurIPS 2019,
equations 1 and 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nni_wcnas.errors import InvalidArgument

__all__ = ['precision_recall']

_ROWS = 1000
"""Points whose distances to all others are held at once."""


def precision_recall(real: Tensor, generated: Tensor, k: int = 3) -> tuple[float, float]:
    """Return precision and recall of generated images, each in [0, 1].

    Parameters
    ----------
    real, generated
        Features of the images, shape ``(N, F)`` and ``(M, F)``. N and M need not be equal, but precision and recall
        both depend on them.
    k
        Which neighbour the balls reach to, at least 1; 3 in the paper.

    Raises
    ------
    ValueError
        If ``k`` is out of range, or a set has not more than ``k`` points.

    Examples
    --------
    >>> real = torch.tensor([[0.0], [1.0], [2.0]])
    >>> precision_recall(real, torch.tensor([[0.5], [1.5], [9.0], [9.5]]), k=1)
    (0.5, 1.0)
    """
    if k < 1:
        raise InvalidArgument('k', k, 'be at least 1')
    if min(len(real), len(generated)) <= k:
        raise ValueError(
            f'There are {len(real)} real and {len(generated)} generated points, too few for k={k} neighbours of each; '
            f'give at least {k + 1} of both'
        )
    return _covered(generated, real, k), _covered(real, generated, k)


def _covered(points: Tensor, by: Tensor, k: int) -> float:
    """Return the share of the points that the set ``by`` covers."""
    # The nearest point of the same set is the point itself, at distance 0: hence k + 1. Rows are split to bound memory.
    radii = torch.cat([_distances(rows, by).kthvalue(k + 1, dim=1).values for rows in by.split(_ROWS)])  # (M,)
    # Equation 1: distances (R, M) against the radius of each point of the set.
    covered = [(_distances(rows, by) <= radii).any(1) for rows in points.split(_ROWS)]
    return torch.cat(covered).double().mean().item()


def _distances(rows: Tensor, columns: Tensor) -> Tensor:
    """Return Euclidean distances, shape ``(R, C)``, without matrix products, whose rounding would part equal points."""
    return torch.cdist(rows, columns, compute_mode='donot_use_mm_for_euclid_dist')
