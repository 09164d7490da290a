"""Displacements: each pixel is fetched from another place of its image, by bilinear interpolation.

Images have shape ``(N, C, H, W)``; beyond the edge, the nearest pixel counts. The length of a displacement has a
derivative.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nni_wcnas.functional.bilinear import interpolated

__all__ = ['displaced', 'smooth_field', 'zoom_blur']

_FACTORS = 6
"""Number of magnifications that a zoom blur averages."""


def displaced(images: Tensor, reach: Tensor, field: Tensor) -> Tensor:
    """Fetch each pixel from ``reach`` (pixels, shape ``(N,)``) times a field of directions ``(N, 2, H, W)``."""
    # Channel 0 of the field moves rows, channel 1 columns; positions have shape (N, HW).
    y, x = (part + reach[:, None] * field[:, axis].flatten(1) for axis, part in enumerate(_places(images)))
    return interpolated(images, x, y).view_as(images)


def smooth_field(coarse: Tensor, size: torch.Size) -> Tensor:
    """Lay a smooth surface of shape ``(N, C, *size)`` through numbers on a coarse grid ``(N, C, h, w)``."""
    # align_corners puts the corners of the grid on the image's corners, so that no part of the surface is extrapolated.
    return F.interpolate(coarse, tuple(size), mode='bicubic', align_corners=True)


def zoom_blur(images: Tensor, most: Tensor) -> Tensor:
    """Return the mean of the images magnified 1 to 1 + ``most`` times around the centre; ``most`` of shape ``(N,)``."""
    steps = torch.linspace(0, 1, _FACTORS, device=images.device, dtype=images.dtype)
    # A magnification by m fetches each pixel from 1 / m of its distance to the centre.
    shrink = 1 / (1 + most[:, None] * steps)  # (N, K)
    y, x = (
        ((side - 1) / 2 + shrink[..., None] * (part - (side - 1) / 2)).flatten(1)
        for side, part in zip(images.shape[-2:], _places(images))
    )
    # All K magnifications in one gather: (N, C, K HW), averaged over K.
    return interpolated(images, x, y).unflatten(-1, (_FACTORS, -1)).mean(2).view_as(images)


def _places(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows and the columns of all pixels, shape ``(HW,)`` each."""
    lines = (torch.arange(side, device=images.device, dtype=images.dtype) for side in images.shape[-2:])
    y, x = torch.meshgrid(*lines, indexing='ij')
    return y.flatten(), x.flatten()
