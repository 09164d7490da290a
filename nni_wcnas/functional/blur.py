"""Blurs whose width has a derivative; images of shape ``(N, C, H, W)``, widths in pixels, of shape ``(N,)``.

A width of 0 leaves an image as it is. Disk and line change it from there on, the bell from a quarter of a pixel on:
what is narrower does not reach the next one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ['defocus_blur', 'gaussian_blur', 'motion_blur']

_LEAST = 1e-6
"""Variance of the narrowest bell, in square pixels: the next pixel's weight is 0."""


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur with a bell of deviation ``sigma``; beyond the edge there is nothing, and the rest counts more."""
    down, across = (_bell(sigma, side)[:, None] for side in images.shape[-2:])
    return down @ images @ across.mT


def defocus_blur(images: Tensor, radius: Tensor, most: float) -> Tensor:
    """Spread each pixel over a disk of a radius up to ``most``, whose border fades out over one pixel."""
    y, x = _offsets(math.ceil(most), images)
    return _spread(images, (1 + radius.view(-1, 1, 1) - torch.hypot(x, y)).clamp(0, 1))


def motion_blur(images: Tensor, length: Tensor, angle: Tensor, most: float) -> Tensor:
    """Smear along a line of a length up to ``most`` at an angle in radians, shape ``(N,)``, from horizontal."""
    reach = math.ceil(most / 2)
    along = torch.linspace(-0.5, 0.5, 2 * reach + 1, device=images.device, dtype=images.dtype)
    right, down = ((length * part)[:, None] * along for part in (angle.cos(), angle.sin()))  # (N, S)
    y, x = _offsets(reach, images)
    # Each point of the line falls on four pixels, as bilinear interpolation has it.
    tents = (1 - (x - right[..., None, None]).abs()).clamp(min=0) * (1 - (y - down[..., None, None]).abs()).clamp(min=0)
    return _spread(images, tents.mean(1))


def _bell(sigma: Tensor, side: int) -> Tensor:
    """Weights of each pixel of a line in each, shape ``(N, side, side)``; rows add up to 1."""
    position = torch.arange(side, device=sigma.device, dtype=sigma.dtype)
    square = (position - position[:, None]).square()
    return (-square / (2 * (sigma.square() + _LEAST)).view(-1, 1, 1)).softmax(-1)


def _offsets(reach: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns around a pixel, shape ``(2 reach + 1, 2 reach + 1)`` each."""
    line = torch.arange(-reach, reach + 1, device=like.device, dtype=like.dtype)
    y, x = torch.meshgrid(line, line, indexing='ij')
    return y, x


def _spread(images: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each image with its symmetric kernel ``(N, K, K)``, which is divided by its sum; beyond the edge its
    nearest pixel counts."""
    count, channels = images.shape[:2]
    reach = kernels.shape[-1] // 2
    kernels = kernels / kernels.sum((1, 2), keepdim=True)
    padded = F.pad(images, (reach, reach, reach, reach), mode='replicate').flatten(0, 1)[None]  # (1, NC, H', W')
    weights = kernels.repeat_interleave(channels, 0)[:, None]  # (NC, 1, K, K)
    return F.conv2d(padded, weights, groups=count * channels).view_as(images)
