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
        Square images, shape ``(N, C, H, H)`` with a side of at least 2.
    matrices
        Maps from (x, y, 1) of a pixel of the result to (x, y) in the image, shape ``(N, 2, 3)``; x and y run from -1 to
        1 between the outer edges.

    Returns
    -------
    The sampled images, shape ``(N, C, H, H)``.

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
    """Return the column and the row that each pixel of the result is fetched from, shape ``(2, N, side^2)``.

    They are in pixels, counted from the centre of the first pixel, and lie between -1/2 and side - 1/2.
    """
    # The centre of pixel i is (i + 1/2) of side pixels between -1 and 1.
    centres = (2 * torch.arange(side, device=matrices.device, dtype=matrices.dtype) + 1) / side - 1
    y, x = torch.meshgrid(centres, centres, indexing='ij')
    points = torch.stack([x.flatten(), y.flatten(), torch.ones_like(x).flatten()])  # (3, HH)
    # Back to pixels, counted from the outer edge.
    from_edge = (matrices @ points + 1) * (side / 2)  # (N, 2, HH)
    # Mirrored at both outer edges: a triangular wave of period 2 side.
    mirrored = side - (from_edge.remainder(2 * side) - side).abs()
    # Half a pixel from the edge to the first centre; the interpolation repeats the outermost pixels in that margin,
    # which is what the mirror shows there.
    return (mirrored - 0.5).transpose(0, 1)
