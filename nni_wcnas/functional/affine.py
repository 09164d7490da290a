"""Affine maps of images with bilinear interpolation, as PIL's ``Image.transform`` and ``Image.rotate`` do them.

The centre of the first pixel lies at (1/2, 1/2). What comes from outside of the image is 0; inside, the outermost
pixels reach half a pixel further. (torch's and kornia's warps fade to 0 there, or have no second derivative.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from nni_wcnas.functional.bilinear import interpolated

__all__ = ['affine', 'rotate', 'shear_x', 'shear_y', 'translate_x', 'translate_y']


def affine(images: Tensor, matrices: Tensor) -> Tensor:
    """Fetch the colour of (x, y) from (a x + b y + c, d x + e y + f).

    Parameters
    ----------
    images
        Shape ``(N, C, H, W)``.
    matrices
        Rows (a, b, c) and (d, e, f), in pixels, shape ``(N, 2, 3)``.

    Returns
    -------
    Shape ``(N, C, H, W)``; twice differentiable in both, between the kinks at the pixels' centres.
    """
    height, width = images.shape[2:]
    rows, columns = (torch.arange(side, device=images.device, dtype=images.dtype) + 0.5 for side in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing='ij')
    points = torch.stack((x.flatten(), y.flatten(), torch.ones_like(x).flatten()))  # (3, HW)
    x, y = (matrices @ points).unbind(1)  # (N, HW) each
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return torch.where(inside[:, None], interpolated(images, x - 0.5, y - 0.5), 0.0).view_as(images)


def shear_x(images: Tensor, slope: Tensor) -> Tensor:
    """Row y, counted from the top, moves to the left by ``slope`` y; ``slope`` of shape ``(N,)``."""
    return affine(images, _matrices(slope, b=slope))


def shear_y(images: Tensor, slope: Tensor) -> Tensor:
    """Column x, counted from the left, moves up by ``slope`` x; ``slope`` of shape ``(N,)``."""
    return affine(images, _matrices(slope, d=slope))


def translate_x(images: Tensor, share: Tensor) -> Tensor:
    """Move to the left by a share of the width, shape ``(N,)``."""
    return affine(images, _matrices(share, c=share * images.shape[-1]))


def translate_y(images: Tensor, share: Tensor) -> Tensor:
    """Move up by a share of the height, shape ``(N,)``."""
    return affine(images, _matrices(share, f=share * images.shape[-2]))


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn around the centre, counter-clockwise, by degrees of shape ``(N,)``."""
    cosine, sine = degrees.deg2rad().cos(), degrees.deg2rad().sin()
    y, x = (side / 2 for side in images.shape[-2:])
    return affine(images, _matrices(degrees, a=cosine, b=-sine, c=x - cosine * x + sine * y,
                                    d=sine, e=cosine, f=y - sine * x - cosine * y))


def _matrices(like: Tensor, **entries: Tensor) -> Tensor:
    """The identity but for the given entries, shape ``(N, 2, 3)``."""
    identity = {'a': 1.0, 'b': 0.0, 'c': 0.0, 'd': 0.0, 'e': 1.0, 'f': 0.0}
    values = [entries[name] if name in entries else torch.full_like(like, value) for name, value in identity.items()]
    return torch.stack(values, -1).view(-1, 2, 3)
