"""Rows of a matrix that are distributions: the way back after they were perturbed."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ['to_simplex']


def to_simplex(moved: Tensor, weights: Tensor) -> Tensor:
    """Make rows distributions again after they were moved away from ``weights``; both have shape ``(E, K)``.

    Numbers are clamped to [0, 1], and each row is divided by its sum: SmoothDARTS's way back, which is not the nearest
    distribution. Entries that were zero in ``weights`` stay zero. A row of which nothing is left puts all of its weight
    on the entry that was largest.

    Returns
    -------
    The distributions, shape ``(E, K)``.
    """
    # A weight of exactly zero marks a pruned candidate, which no perturbation may bring back.
    clamped = moved.clamp(0, 1) * (weights > 0)
    total = clamped.sum(-1, keepdim=True)
    # The second factor keeps a row that was all zeros, as that of a dropped edge, at zeros.
    most = nn.functional.one_hot(weights.argmax(-1), weights.shape[-1]) * (weights > 0)
    return (clamped / total.clamp(min=1e-12)).where(total > 0, most.to(weights))
