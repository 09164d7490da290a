"""Numbers that sum up a relaxed architecture, for logs."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['entropy']


def entropy(weights: Tensor) -> Tensor:
    """Return the mean entropy of the rows of mixing weights ``(E, K)``, in nats: log K if undecided, 0 if decided."""
    # xlogy(0, 0) is 0, the limit of w log w: weights of pruned candidates do not make the entropy NaN.
    return -torch.special.xlogy(weights, weights).sum(-1).mean()
