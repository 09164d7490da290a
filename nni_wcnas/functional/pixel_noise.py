"""Noise on pixels in [0, 1], shape ``(N, 3, H, W)``, by numbers that are drawn elsewhere; values of shape ``(N,)``."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ['gaussian_noise', 'impulse_noise', 'shot_noise', 'speckle_noise']


def gaussian_noise(images: Tensor, deviation: Tensor, normal: Tensor) -> Tensor:
    """x + deviation n, for standard normal n."""
    return images + _each(deviation) * normal


def shot_noise(images: Tensor, deviation: Tensor, normal: Tensor) -> Tensor:
    """x + deviation sqrt(x) n: photons that are counted, 1 / deviation^2 of them in a white pixel, by the normal
    approximation of Poisson's distribution."""
    return images + _each(deviation) * images.sqrt() * normal


def speckle_noise(images: Tensor, deviation: Tensor, normal: Tensor) -> Tensor:
    """x + deviation x n."""
    return images + _each(deviation) * images * normal


def impulse_noise(images: Tensor, share: Tensor, uniform: Tensor) -> Tensor:
    """Black or white, with the same chance, in the place of a share of all values; ``uniform`` in [0, 1)."""
    share = _each(share)
    return torch.where(uniform < share, (2 * uniform < share).to(images), images)


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
