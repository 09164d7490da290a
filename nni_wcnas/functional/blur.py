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
    """Blur with a bell curve of deviation ``sigma``.

    Nothing lies beyond the edge: near it, the weights of the pixels that are there are scaled up to a sum of 1.
    """
    down, across = (_bell(sigma, side)[:, None] for side in images.shape[-2:])
    # A bell curve in two dimensions is a product of two: one matrix (N, 1, H, H) for columns, one (N, 1, W, W) for
    # rows.
    return down @ images @ across.mT


def defocus_blur(images: Tensor, radius: Tensor, most: float) -> Tensor:
    """Spread each pixel over a disk of ``radius``, at most ``most``, whose border fades out over one pixel."""
    # The kernel reaches as far as ``most``, not as the radius: the size of a tensor has no derivative.
    y, x = _offsets(math.ceil(most), images)
    # 1 inside, falling to 0 from radius to radius + 1: a hard border would have no derivative.
    return _spread(images, (1 + radius.view(-1, 1, 1) - torch.hypot(x, y)).clamp(0, 1))


def motion_blur(images: Tensor, length: Tensor, angle: Tensor, most: float) -> Tensor:
    """Smear along a line of ``length``, at most ``most``, at an angle from horizontal, in radians, shape ``(N,)``."""
    reach = math.ceil(most / 2)
    # S = 2 reach + 1 points along the line, at most one pixel apart: no pixel between them is left out.
    along = torch.linspace(-0.5, 0.5, 2 * reach + 1, device=images.device, dtype=images.dtype)
    right, down = ((length * part)[:, None] * along for part in (angle.cos(), angle.sin()))  # (N, S)
    y, x = _offsets(reach, images)
    # Each point of the line falls on four pixels, as bilinear interpolation has it.
    tents = (1 - (x - right[..., None, None]).abs()).clamp(min=0) * (1 - (y - down[..., None, None]).abs()).clamp(min=0)
    # Shapes: (N, S, 1, 1) against (K, K) gives (N, S, K, K), and the mean over the points (N, K, K).
    return _spread(images, tents.mean(1))


def _bell(sigma: Tensor, side: int) -> Tensor:
    """Return the weights of all pixels of a line in each blurred one, shape ``(N, side, side)``; rows add up to 1."""
    position = torch.arange(side, device=sigma.device, dtype=sigma.dtype)
    square = (position - position[:, None]).square()
    # softmax divides exp(-d^2 / 2 sigma^2) by the sum over the pixels that exist.
    return (-square / (2 * (sigma.square() + _LEAST)).view(-1, 1, 1)).softmax(-1)


def _offsets(reach: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the offsets of rows and columns around a pixel, shape ``(2 reach + 1, 2 reach + 1)`` each."""
    line = torch.arange(-reach, reach + 1, device=like.device, dtype=like.dtype)
    y, x = torch.meshgrid(line, line, indexing='ij')
    return y, x


def _spread(images: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each image with its own symmetric kernel ``(N, K, K)``, divided by its sum.

    Beyond the edge, the nearest pixel of the image counts.
    """
    count, channels = images.shape[:2]
    reach = kernels.shape[-1] // 2
    kernels = kernels / kernels.sum((1, 2), keepdim=True)
    # One grouped convolution with a group for each channel of each image: images have kernels of their own.
    padded = F.pad(images, (reach, reach, reach, reach), mode='replicate').flatten(0, 1)[None]  # (1, NC, H', W')
    weights = kernels.repeat_interleave(channels, 0)[:, None]  # (NC, 1, K, K)
    return F.conv2d(padded, weights, groups=count * channels).view_as(images)
