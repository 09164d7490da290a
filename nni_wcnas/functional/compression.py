"""What few pixels and few bits leave of an image: big pixels and JPEG; pixels in [0, 1], shape ``(N, 3, H, W)``.

Both are steps, without a derivative by how strong they are.

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
_LEAST = 1e-6
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *((99,) * 8 for _ in range(4)),
)
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def pixelate(images: Tensor, loss: Tensor) -> Tensor:
    """Leave (1 - loss) of the pixels of each side, shape ``(N,)``, each the mean of those that it stands for."""
    down, across = (_boxes(loss, side)[:, None] for side in images.shape[-2:])
    return down @ images @ across.mT


def jpeg(images: Tensor, coarseness: Tensor) -> Tensor:
    """Round the cosine coefficients of blocks of 8 x 8 pixels to steps of ``coarseness``, shape ``(N,)``, times JPEG's
    tables, which are for 256 levels.

    1 is quality 50, 2.5 quality 20. Colours are kept at full resolution.
    """
    height, width = images.shape[-2:]
    to_ycc = images.new_tensor(_TO_YCC)
    middle = images.new_tensor((_MIDDLE, 0, 0)).view(3, 1, 1)  # Grey has no coefficient.
    colours = torch.einsum('ij,njhw->nihw', to_ycc, images) * 255 - middle
    padded = F.pad(colours, (0, -width % _BLOCK, 0, -height % _BLOCK), mode='replicate')
    blocks = padded.unflatten(-1, (-1, _BLOCK)).unflatten(-3, (-1, _BLOCK)).transpose(-3, -2)  # (N, 3, h, w, 8, 8)
    cosines = _cosines(images)
    tables = images.new_tensor((_LUMA, _CHROMA, _CHROMA))[:, None, None]
    steps = (coarseness.view(-1, 1, 1, 1, 1, 1) * tables).clamp(min=_LEAST)
    kept = (cosines @ blocks @ cosines.T / steps).round() * steps
    restored = (cosines.T @ kept @ cosines).transpose(-3, -2).flatten(-2).flatten(-3, -2)[..., :height, :width]
    return torch.einsum('ij,njhw->nihw', torch.linalg.inv(to_ycc), restored + middle) / 255


def _boxes(loss: Tensor, side: int) -> Tensor:
    """Weights of each pixel of a line in each, those of one box alike, shape ``(N, side, side)``; rows add up to 1."""
    middle = torch.arange(side, device=loss.device, dtype=loss.dtype) + 0.5
    box = (middle * (1 - loss[:, None])).floor()  # (N, side)
    same = (box[:, :, None] == box[:, None]).to(loss)
    return same / same.sum(-1, keepdim=True)


def _cosines(like: Tensor) -> Tensor:
    """The orthonormal cosine transform, shape ``(8, 8)``."""
    position = torch.arange(_BLOCK, device=like.device, dtype=like.dtype)
    table = (math.pi / _BLOCK * position[:, None] * (position + 0.5)).cos() * math.sqrt(2 / _BLOCK)
    table[0] /= math.sqrt(2)
    return table
