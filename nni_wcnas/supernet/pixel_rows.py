"""Images as rows of pixels and back, and whether plain CPU arithmetic computes on them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['rows_of', 'image_of', 'is_plain']


def rows_of(image: Tensor) -> Tensor:
    """Return an image ``(N, C, H, W)`` as rows ``(N * H * W, C)``; a view in channels-last, otherwise a copy."""
    return image.permute(0, 2, 3, 1).flatten(0, 2)


def image_of(rows: Tensor, like: Tensor) -> Tensor:
    """Return rows ``(N * H * W, C)`` as an image ``(N, C, H, W)``, with the N, H and W of ``like``.

    It is a view in channels-last order.
    """
    count, _, height, width = like.shape
    return rows.view(count, height, width, -1).permute(0, 3, 1, 2)


def is_plain(state: Tensor) -> bool:
    """Return whether a CPU computes in full precision, call by call: no autocast, and no compiler."""
    return state.device.type == 'cpu' and not torch.is_autocast_enabled('cpu') and not torch.compiler.is_compiling()
