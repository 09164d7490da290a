"""Distributions in the rows of a matrix, and what is near them."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ['to_simplex']


def to_simplex(moved: Tensor, weights: Tensor) -> Tensor:
    """Make rows distributions again after they were moved away from ``weights``, shapes ``(E, K)``.

    Negative numbers become 0, and each row is divided by its sum: SmoothDARTS's way back, which is not the nearest
    distribution. Entries that were zero stay zero; a row of which nothing is left puts all on what weighed most.
    """
    clamped = moved.clamp(0, 1) * (weights > 0)
    total = clamped.sum(-1, keepdim=True)
    most = nn.functional.one_hot(weights.argmax(-1), weights.shape[-1]) * (weights > 0)
    return (clamped / total.clamp(min=1e-12)).where(total > 0, most.to(weights))
