"""Whether a supernet can be trained in the channels-last memory format, and its inputs put into it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ['has_unsafe_layout', 'to_channels_last']


def has_unsafe_layout(model: nn.Module) -> bool:
    """Return whether a layer is one for which oneDNN, in channels-last, writes out of bounds in the backward pass."""
    # Seen with torch 2.15 on a CPU with AVX2.
    # Strided pointwise convolutions of fewer than 8 input channels, which factorised reductions of narrow spaces have.
    return any(
        isinstance(conv, nn.Conv2d) and conv.kernel_size == (1, 1) and conv.stride != (1, 1) and conv.in_channels < 8
        for conv in model.modules()
    )


def to_channels_last(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Forward pre-hook that puts images of shape ``(N, C, H, W)`` into the channels-last memory format."""
    del module  # Unused: only the input changes its layout.
    return tuple(
        x.contiguous(memory_format=torch.channels_last) if isinstance(x, torch.Tensor) and x.dim() == 4 else x
        for x in inputs
    )
