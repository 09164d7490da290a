"""Numbers that describe a relaxed architecture."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['entropy']


def entropy(weights: Tensor) -> Tensor:
    """Mean entropy of the rows of mixing weights ``(E, K)``, in nats: log K when undecided, 0 when decided."""
    return -torch.special.xlogy(weights, weights).sum(-1).mean()
