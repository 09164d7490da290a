"""Every other pixel of a channels-last map, by a function whose gradient is channels-last again.

torch's own gradient of a slice is in the usual layout, and everything before it pays for the change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ['corners']


def corners(x: Tensor, starts: Sequence[int] = (0,)) -> tuple[Tensor, ...]:
    """``x[:, :, start::2, start::2]`` for each of the starts, in channels-last, as often differentiable."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return _cut(x, starts)
    return _Corners.apply(x, starts)


def _cut(x: Tensor, starts: Sequence[int]) -> tuple[Tensor, ...]:
    return tuple(x[:, :, start::2, start::2].contiguous(memory_format=torch.channels_last) for start in starts)


class _Corners(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, starts: Sequence[int]) -> tuple[Tensor, ...]:
        ctx.shape, ctx.starts = x.shape, starts
        return _cut(x, starts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        count, channels, height, width = ctx.shape
        whole = gradients[0].new_zeros(count, height, width, channels).permute(0, 3, 1, 2)
        for start, gradient in zip(ctx.starts, gradients):
            whole[:, :, start::2, start::2] = gradient
        return whole, None
