"""Noise: each pixel, or each channel of it, is changed on its own.

Pseudo-code, for pixels x in [0, 1]::

    gaussian_noise   x + deviation * N(0, 1)
    shot_noise       Poisson(photons * x) / photons
    impulse_noise    black or white instead of a share of the values
    speckle_noise    x + x * deviation * N(0, 1)
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from nni_wcnas.measure.corruption.pixels import Pixels

__all__ = ['gaussian_noise', 'impulse_noise', 'shot_noise', 'speckle_noise']


def gaussian_noise(pixels: Pixels, generator: Generator, deviation: float) -> Pixels:
    """Add Gaussian noise of the same deviation to every value, as a sensor in the dark does.

    Parameters
    ----------
    pixels
        In [0, 1], shape ``(H, W, 3)``.
    generator
        Source of the noise.
    deviation
        Standard deviation of the noise, for pixels in [0, 1].

    Returns
    -------
    ndarray
        Shape ``(H, W, 3)``, not clipped.
    """
    return pixels + generator.normal(scale=deviation, size=pixels.shape)


def shot_noise(pixels: Pixels, generator: Generator, photons: float) -> Pixels:
    """Count photons: add Poisson noise, for which a white pixel receives ``photons`` on average.

    Fewer photons are a stronger noise. The other parameters and the result are those of :func:`gaussian_noise`.
    """
    # The variance of a Poisson count is its mean, so a pixel x gets noise of deviation sqrt(x / photons).
    return generator.poisson(pixels * photons) / photons


def impulse_noise(pixels: Pixels, generator: Generator, share: float) -> Pixels:
    """Set a ``share`` of all values to 0 or 1, either with the same chance: salt and pepper, in colour.

    The other parameters and the result are those of :func:`gaussian_noise`.
    """
    # Shape (H, W, 3): each channel is hit on its own, which gives coloured specks.
    is_hit = generator.random(pixels.shape) < share
    return np.where(is_hit, generator.random(pixels.shape) < 0.5, pixels)


def speckle_noise(pixels: Pixels, generator: Generator, deviation: float) -> Pixels:
    """Add noise whose deviation is ``deviation`` times the pixel.

    The other parameters and the result are those of :func:`gaussian_noise`.
    """
    return pixels + pixels * generator.normal(scale=deviation, size=pixels.shape)
