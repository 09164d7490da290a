"""Images reduced to few pixels or few bits: big pixels and JPEG. Pixels are in [0, 1], of shape ``(N, 3, H, W)``.

Both changes go in steps: they have no derivative by their strength.

References
----------
Wallace, "The JPEG Still Picture Compression Standard", 1992; tables of ITU-T T.81, annex K.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ['jpeg', 'pixelate']

_BLOCK, _MIDDLE = 8, 128
"""Side of a block, and the level that luma is counted from."""
_LEAST = 1e-6
"""The finest step: a coarseness of 0 divides by it and leaves the image as it is, up to rounding."""
# The tables of annex K: the step of each coefficient, from the mean (first) to the finest detail (last). The second one
# serves both colour channels.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *((99,) * 8 for _ in range(4)),
)
# RGB to luma and two colour differences, as JFIF has it; the first row is the grey of ITU-R BT.601.
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def pixelate(images: Tensor, loss: Tensor) -> Tensor:
    """Reduce each side to a share (1 - loss) of its pixels, each the mean of those that it stands for.

    ``loss`` has shape ``(N,)``; the image keeps its size, as equal pixels side by side.
    """
    down, across = (_boxes(loss, side)[:, None] for side in images.shape[-2:])
    # Means along columns by (N, 1, H, H), along rows by (N, 1, W, W).
    return down @ images @ across.mT


def jpeg(images: Tensor, coarseness: Tensor) -> Tensor:
    """Round the cosine coefficients of blocks of 8 x 8 pixels, as JPEG does.

    The steps are JPEG's tables, which are for 256 levels, times ``coarseness`` of shape ``(N,)``: 1 is quality 50, 2.5
    quality 20. Colours are kept at full resolution.
    """
    height, width = images.shape[-2:]
    to_ycc = images.new_tensor(_TO_YCC)
    middle = images.new_tensor((_MIDDLE, 0, 0)).view(3, 1, 1)  # Grey has no coefficient.
    colours = torch.einsum('ij,njhw->nihw', to_ycc, images) * 255 - middle
    # The sides are filled up to multiples of 8, as JPEG does, and cut off again at the end.
    padded = F.pad(colours, (0, -width % _BLOCK, 0, -height % _BLOCK), mode='replicate')
    blocks = padded.unflatten(-1, (-1, _BLOCK)).unflatten(-3, (-1, _BLOCK)).transpose(-3, -2)  # (N, 3, h, w, 8, 8)
    cosines = _cosines(images)
    tables = images.new_tensor((_LUMA, _CHROMA, _CHROMA))[:, None, None]
    # (N, 1, 1, 1, 1, 1) times (3, 1, 1, 8, 8): a table for each image and channel, the same for all of its blocks.
    steps = (coarseness.view(-1, 1, 1, 1, 1, 1) * tables).clamp(min=_LEAST)
    # Matrix products act on the last two dimensions: C x C^T is the transform of a block, C^T k C the way back.
    kept = (cosines @ blocks @ cosines.T / steps).round() * steps
    restored = (cosines.T @ kept @ cosines).transpose(-3, -2).flatten(-2).flatten(-3, -2)[..., :height, :width]
    return torch.einsum('ij,njhw->nihw', torch.linalg.inv(to_ycc), restored + middle) / 255


def _boxes(loss: Tensor, side: int) -> Tensor:
    """Return the matrices that replace the pixels of a line by the means of their boxes, shape ``(N, side, side)``."""
    middle = torch.arange(side, device=loss.device, dtype=loss.dtype) + 0.5
    # Pixel i falls into box floor((i + 1/2) (1 - loss)). Rows of the matrix are divided by the size of the box.
    box = (middle * (1 - loss[:, None])).floor()  # (N, side)
    same = (box[:, :, None] == box[:, None]).to(loss)
    return same / same.sum(-1, keepdim=True)


def _cosines(like: Tensor) -> Tensor:
    """Return the matrix of the orthonormal cosine transform, a frequency in each row, shape ``(8, 8)``."""
    position = torch.arange(_BLOCK, device=like.device, dtype=like.dtype)
    table = (math.pi / _BLOCK * position[:, None] * (position + 0.5)).cos() * math.sqrt(2 / _BLOCK)
    # The constant row has twice the squared length of the others.
    table[0] /= math.sqrt(2)
    return table
