"""Affine transformation of images by bilinear interpolation, mirrored beyond the edges."""

from __future__ import annotations

import torch
from torch import Tensor

from nni_wcnas.functional.bilinear import interpolated

__all__ = ['warped']


def warped(images: Tensor, matrices: Tensor) -> Tensor:
    """Sample each image at the places that a matrix maps its pixels to; beyond the edges it is mirrored.

    Parameters
    ----------
    images
        Square, shape ``(N, C, H, H)`` with a side of at least 2.
    matrices
        Shape ``(N, 2, 3)``: from a pixel's (x, y, 1) in the result, where x and y run from -1 to 1 between the outer
        edges of the image, to (x, y) in the image.

    Returns
    -------
    Shape ``(N, C, H, H)``.

    Examples
    --------
    >>> image, mirror = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), torch.tensor([[[-1.0, 0, 0], [0, 1, 0]]])
    >>> warped(image, mirror)
    tensor([[[[2., 1.],
              [4., 3.]]]])
    """
    x, y = _positions(matrices, images.shape[-1])
    return interpolated(images, x, y).view_as(images)


def _positions(matrices: Tensor, side: int) -> Tensor:
    """Columns and rows, in pixels from 0 to side - 1, of what each pixel of the result is, shape ``(2, N, side^2)``."""
    centres = (2 * torch.arange(side, device=matrices.device, dtype=matrices.dtype) + 1) / side - 1
    y, x = torch.meshgrid(centres, centres, indexing='ij')
    points = torch.stack([x.flatten(), y.flatten(), torch.ones_like(x).flatten()])  # (3, HH)
    from_edge = (matrices @ points + 1) * (side / 2)  # (N, 2, HH)
    # Mirrored at both outer edges: a triangular wave of period 2 side.
    mirrored = side - (from_edge.remainder(2 * side) - side).abs()
    return (mirrored - 0.5).transpose(0, 1)
