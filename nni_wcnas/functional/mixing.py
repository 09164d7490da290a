"""The weighted sum on one edge of a relaxed cell, in two orders of arithmetic: NNI's, and one that is faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ['Mix', 'stacked_sum', 'running_sum']

Mix = Callable[[Sequence[Tensor], Tensor], Tensor]
"""A weighted sum: a function of the outputs of K candidates and their weights, such as :func:`stacked_sum`."""


def stacked_sum(outputs: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Stack the outputs, scale them and sum them up: the arithmetic of NNI's cell, bit for bit.

    Parameters
    ----------
    outputs
        Outputs of the K candidates, each of shape ``(N, C, H, W)``.
    weights
        Mixing weights, shape ``(K,)``, or ``(K + 1,)`` with the weight of a hidden 'none' last.

    Returns
    -------
    The weighted sum, shape ``(N, C, H, W)``, in the plain memory layout.
    """
    stacked = torch.stack(list(outputs))  # (K, N, C, H, W)
    if len(weights) == len(stacked) + 1:
        # The hidden 'none' has no module. A zero output in its place gives its weight the gradient 0, as in NNI.
        stacked = torch.cat((stacked, torch.zeros_like(stacked[:1])), 0)
    # (K, 1, 1, 1, 1) against (K, N, C, H, W). Another order of summation would differ from NNI in the last bits.
    return torch.sum(stacked * weights.view(-1, 1, 1, 1, 1), 0)


def running_sum(outputs: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Add one scaled output after the other; arguments and result are those of :func:`stacked_sum`.

    This keeps the channels-last memory format and needs no stacked copy, and a hidden 'none' costs nothing.
    """
    total = outputs[0] * weights[0]
    # The slice ends before the weight of a hidden 'none', whose term is zero.
    for output, weight in zip(outputs[1:], weights[1 : len(outputs)]):
        total = total + output * weight
    return total
