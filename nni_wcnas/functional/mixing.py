"""The weighted sum on one edge of a relaxed cell, in the two orders of arithmetic that matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ['Mix', 'stacked_sum', 'running_sum']

Mix = Callable[[Sequence[Tensor], Tensor], Tensor]


def stacked_sum(outputs: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Stack, scale, sum: the arithmetic of NNI's cell, bit for bit.

    Parameters
    ----------
    outputs
        K tensors of shape ``(N, C, H, W)``.
    weights
        Shape ``(K,)``, or ``(K + 1,)`` with the weight of a hidden 'none' last.

    Returns
    -------
    Shape ``(N, C, H, W)``, in the plain memory layout.
    """
    stacked = torch.stack(list(outputs))  # (K, N, C, H, W)
    if len(weights) == len(stacked) + 1:
        stacked = torch.cat((stacked, torch.zeros_like(stacked[:1])), 0)
    return torch.sum(stacked * weights.view(-1, 1, 1, 1, 1), 0)


def running_sum(outputs: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Add one scaled output after the other: keeps channels-last, needs no stacked copy, and a hidden 'none' costs
    nothing."""
    total = outputs[0] * weights[0]
    for output, weight in zip(outputs[1:], weights[1 : len(outputs)]):
        total = total + output * weight
    return total
