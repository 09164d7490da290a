"""Noise on pixels in [0, 1] of shape ``(N, 3, H, W)``, made of random numbers that callers draw.

The strength of the noise has shape ``(N,)``; random numbers have the shape of the images. Results may leave [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['gaussian_noise', 'impulse_noise', 'shot_noise', 'speckle_noise']


def gaussian_noise(images: Tensor, deviation: Tensor, normal: Tensor) -> Tensor:
    """Return x + deviation n for standard normal n: noise of equal strength everywhere."""
    return images + _each(deviation) * normal


def shot_noise(images: Tensor, deviation: Tensor, normal: Tensor) -> Tensor:
    """Return x + deviation sqrt(x) n for standard normal n: the noise of counted photons.

    This is the normal approximation of Poisson's distribution, with 1 / deviation^2 photons in a white pixel.
    """
    # A count of mean k x deviates by sqrt(k x); divided by k = 1 / deviation^2, by deviation sqrt(x). The slope of the
    # root is infinite at 0, so images must not require a gradient.
    return images + _each(deviation) * images.sqrt() * normal


def speckle_noise(images: Tensor, deviation: Tensor, normal: Tensor) -> Tensor:
    """Return x + deviation x n for standard normal n: noise in proportion to brightness."""
    return images + _each(deviation) * images * normal


def impulse_noise(images: Tensor, share: Tensor, uniform: Tensor) -> Tensor:
    """Replace a share of all values by black or white, with equal probability; ``uniform`` is in [0, 1)."""
    share = _each(share)
    # One number decides twice: below the share it is replaced, and below half of the share it becomes white.
    # Comparisons have no derivative by the share.
    return torch.where(uniform < share, (2 * uniform < share).to(images), images)


def _each(values: Tensor) -> Tensor:
    """Give a value for each image the shape ``(N, 1, 1, 1)``."""
    return values.view(-1, 1, 1, 1)
