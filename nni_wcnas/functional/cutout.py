"""Cutout of squares whose size is a share of the image."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['cutout']

_GREY = 0.5


def cutout(images: Tensor, share: Tensor, centres: Tensor) -> Tensor:
    """Paint a square of each image grey, clipped at the borders.

    Parameters
    ----------
    images
        Pixels in [0, 1], shape ``(N, C, H, W)``.
    share
        Side of the square in image sides, shape ``(N,)``.
    centres
        Row and column of its centre in image sides, in [0, 1], shape ``(N, 2)``.

    Returns
    -------
    Shape ``(N, C, H, W)``; a pixel is painted where its centre lies in the square.

    References
    ----------
    DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017.
    """
    hit = []
    for axis, side in enumerate(images.shape[-2:]):
        position = torch.arange(side, device=images.device, dtype=images.dtype) + 0.5
        start = (centres[:, axis] - share / 2) * side
        distance = position - start[:, None]  # (N, side)
        hit.append((distance >= 0) & (distance < (share * side)[:, None]))
    hole = hit[0][:, None, :, None] & hit[1][:, None, None, :]  # (N, 1, H, W)
    return images.masked_fill(hole, _GREY)
