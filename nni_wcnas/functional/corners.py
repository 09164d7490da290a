"""Every other pixel of a channels-last map, by a function whose gradient is channels-last again.

torch's own gradient of a slice is in the contiguous (NCHW) layout, and all layers that the gradient passes next pay for
the change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ['corners']


def corners(x: Tensor, starts: Sequence[int] = (0,)) -> tuple[Tensor, ...]:
    """Return ``x[:, :, start::2, start::2]`` for each of the starts, in channels-last.

    The result can be differentiated as often as the slices themselves.

    Parameters
    ----------
    x
        Shape ``(N, C, H, W)``.
    starts
        First row and column of each result: 0, 1 or both, each once.

    Returns
    -------
    One tensor for each start, shape ``(N, C, ceil((H - start) / 2), ceil((W - start) / 2))``.

    Raises
    ------
    ValueError
        When a start is not 0 or 1, or is given twice: the gradients of the results would fall on the same pixels.
    """
    if len(set(starts)) < len(starts) or not {0, 1}.issuperset(starts):
        raise ValueError(f'starts must be 0, 1 or both, each once, not {tuple(starts)}')
    # A compiler chooses layouts itself, and a tracer must record operations of torch, not a function of ours.
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return _cut(x, starts)
    return _Corners.apply(x, starts)


def _cut(x: Tensor, starts: Sequence[int]) -> tuple[Tensor, ...]:
    """Return the slices as copies in channels-last."""
    return tuple(x[:, :, start::2, start::2].contiguous(memory_format=torch.channels_last) for start in starts)


class _Corners(torch.autograd.Function):
    """The slices, with a gradient in channels-last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, starts: Sequence[int]) -> tuple[Tensor, ...]:
        ctx.shape, ctx.starts = x.shape, starts
        return _cut(x, starts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        count, channels, height, width = ctx.shape
        # Zeros (N, H, W, C) seen as (N, C, H, W): that is channels-last.
        whole = gradients[0].new_zeros(count, height, width, channels).permute(0, 3, 1, 2)
        # Assigned, not added: slices that start at 0 and at 1 have no pixel in common.
        for start, gradient in zip(ctx.starts, gradients):
            whole[:, :, start::2, start::2] = gradient
        return whole, None
