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
    """Map images by affine maps: the colour at (x, y) of the result is fetched from (a x + b y + c, d x + e y + f).

    Parameters
    ----------
    images
        Shape ``(N, C, H, W)``.
    matrices
        The rows (a, b, c) and (d, e, f) of each image's map, in pixels, shape ``(N, 2, 3)``.

    Returns
    -------
    The mapped images, shape ``(N, C, H, W)``; twice differentiable in images and matrices, between the kinks at the
    pixels' centres.
    """
    height, width = images.shape[2:]
    rows, columns = (torch.arange(side, device=images.device, dtype=images.dtype) + 0.5 for side in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing='ij')
    # Homogeneous coordinates: the third row of ones meets the offsets c and f.
    points = torch.stack((x.flatten(), y.flatten(), torch.ones_like(x).flatten()))  # (3, HW)
    x, y = (matrices @ points).unbind(1)  # (N, HW) each
    # What lies outside is told before the interpolation, which continues the outermost pixels without end.
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    # ``interpolated`` counts from the centre of the first pixel, this module from its outer corner: half a pixel apart.
    return torch.where(inside[:, None], interpolated(images, x - 0.5, y - 0.5), 0.0).view_as(images)


def shear_x(images: Tensor, slope: Tensor) -> Tensor:
    """Shear images: row y, counted from the top, moves left by ``slope`` times y; ``slope`` of shape ``(N,)``."""
    return affine(images, _matrices(slope, b=slope))


def shear_y(images: Tensor, slope: Tensor) -> Tensor:
    """Shear images: column x, counted from the left, moves up by ``slope`` times x; ``slope`` of shape ``(N,)``."""
    return affine(images, _matrices(slope, d=slope))


def translate_x(images: Tensor, share: Tensor) -> Tensor:
    """Move images to the left by a share of their width, shape ``(N,)``."""
    return affine(images, _matrices(share, c=share * images.shape[-1]))


def translate_y(images: Tensor, share: Tensor) -> Tensor:
    """Move images up by a share of their height, shape ``(N,)``."""
    return affine(images, _matrices(share, f=share * images.shape[-2]))


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn images around their centre, counter-clockwise, by degrees of shape ``(N,)``."""
    cosine, sine = degrees.deg2rad().cos(), degrees.deg2rad().sin()
    # The map leads from the result back to the image: the inverse rotation about the centre p, q -> R (q - p) + p. Its
    # offsets c and f are the parts of p - R p. Rows count downwards, hence the signs of the sines.
    y, x = (side / 2 for side in images.shape[-2:])
    return affine(images, _matrices(degrees, a=cosine, b=-sine, c=x - cosine * x + sine * y,
                                    d=sine, e=cosine, f=y - sine * x - cosine * y))


def _matrices(like: Tensor, **entries: Tensor) -> Tensor:
    """Return maps that are the identity but for the given entries of shape ``(N,)``; shape ``(N, 2, 3)``."""
    identity = {'a': 1.0, 'b': 0.0, 'c': 0.0, 'd': 0.0, 'e': 1.0, 'f': 0.0}
    values = [entries[name] if name in entries else torch.full_like(like, value) for name, value in identity.items()]
    return torch.stack(values, -1).view(-1, 2, 3)
