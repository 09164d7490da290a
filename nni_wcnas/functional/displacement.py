"""Pixels fetched from other places of their image, bilinearly; images of shape ``(N, C, H, W)``, beyond the edge its
nearest pixel. What says how far has a derivative."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nni_wcnas.functional.bilinear import interpolated

__all__ = ['displaced', 'smooth_field', 'zoom_blur']

_FACTORS = 6


def displaced(images: Tensor, reach: Tensor, field: Tensor) -> Tensor:
    """Fetch each pixel from ``reach`` (pixels, shape ``(N,)``) times a field of directions ``(N, 2, H, W)``."""
    y, x = (part + reach[:, None] * field[:, axis].flatten(1) for axis, part in enumerate(_places(images)))
    return interpolated(images, x, y).view_as(images)


def smooth_field(coarse: Tensor, size: torch.Size) -> Tensor:
    """Numbers on a coarse grid ``(N, C, h, w)``, between them a smooth surface of another size ``(N, C, *size)``."""
    return F.interpolate(coarse, tuple(size), mode='bicubic', align_corners=True)


def zoom_blur(images: Tensor, most: Tensor) -> Tensor:
    """The mean of the images under magnifications from 1 to 1 + ``most``, shape ``(N,)``, around the centre."""
    steps = torch.linspace(0, 1, _FACTORS, device=images.device, dtype=images.dtype)
    shrink = 1 / (1 + most[:, None] * steps)  # (N, K)
    y, x = (
        ((side - 1) / 2 + shrink[..., None] * (part - (side - 1) / 2)).flatten(1)
        for side, part in zip(images.shape[-2:], _places(images))
    )
    return interpolated(images, x, y).unflatten(-1, (_FACTORS, -1)).mean(2).view_as(images)


def _places(images: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of all pixels, shape ``(HW,)`` each."""
    lines = (torch.arange(side, device=images.device, dtype=images.dtype) for side in images.shape[-2:])
    y, x = torch.meshgrid(*lines, indexing='ij')
    return y.flatten(), x.flatten()
