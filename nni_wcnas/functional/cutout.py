"""Cutout: squares of images are painted grey, of a size that is a share of the image."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['cutout']

_GREY = 0.5
"""The grey that is painted: the middle of [0, 1]."""


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
    # A square is the product of an interval of rows and one of columns. What lies outside of the image has no pixels,
    # which clips it at the borders.
    for axis, side in enumerate(images.shape[-2:]):
        # Centres of the pixels, counted from the outer edge.
        position = torch.arange(side, device=images.device, dtype=images.dtype) + 0.5
        start = (centres[:, axis] - share / 2) * side
        distance = position - start[:, None]  # (N, side)
        hit.append((distance >= 0) & (distance < (share * side)[:, None]))
    hole = hit[0][:, None, :, None] & hit[1][:, None, None, :]  # (N, 1, H, W)
    # The mask is made of comparisons: neither share nor centres get a gradient.
    return images.masked_fill(hole, _GREY)
