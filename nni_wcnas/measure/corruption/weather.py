"""Weather: snow, frost, fog and bright light; spatter has a file of its own.

Pseudo-code, for pixels x::

    snow         whitened x + flakes + flakes turned by 180 degrees; flakes: magnified, thresholded, smeared noise
    frost        keep * x + weight * texture
    fog          (x + strength * cloud) * max / (max + strength)
    brightness   the value of hue, saturation, value is raised

Deviation: the published sets blend five photographs of frosted windows, which are not shipped here. Their texture is
synthesised from two clouds (a veil, and crystals along the level line of the second) with the mean and the spread that
the photographs have, so errors under frost compare among our networks but not digit by digit with published ones.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from nni_wcnas.measure.corruption.motion import smear
from nni_wcnas.measure.corruption.pixels import Pixels
from nni_wcnas.measure.corruption.plasma import plasma
from nni_wcnas.measure.corruption.zoom import magnify

__all__ = ['brightness', 'fog', 'frost', 'snow']

_GREY = np.array([0.299, 0.587, 0.114])
"""Luma of red, green and blue (ITU-R BT.601)."""

_PHOTOGRAPHS = (((78, 149, 166), 15), ((201, 205, 214), 16), ((201, 205, 214), 16), ((138, 153, 165), 20),
                ((112, 123, 135), 30))
"""Mean colour of each published frost texture, and the deviation inside a crop of it; in 0..255."""


def snow(pixels: Pixels, generator: Generator, mean: float, deviation: float, size: float, threshold: float,
         radius: float, sigma: float, keep: float) -> Pixels:
    """Let snow fall in one random direction, within 45 degrees of vertical.

    Parameters
    ----------
    pixels
        In [0, 1], shape ``(H, W, 3)``.
    generator
        Source of all that is random.
    mean, deviation
        Mean and standard deviation of the Gaussian noise that the flakes are cut from.
    size
        Factor by which the noise is magnified, at least 1.
    threshold
        Noise below this is no flake.
    radius, sigma
        Extent of the smearing, as for :func:`nni_wcnas.measure.corruption.motion.smear`.
    keep
        Weight of the image against its whitened copy, in [0, 1].

    Returns
    -------
    ndarray
        Shape ``(H, W, 3)``, not clipped.
    """
    # One channel, (H, W, 1): flakes are white and broadcast over the colours.
    noise = magnify(generator.normal(mean, deviation, (*pixels.shape[:2], 1)), size)
    # Cut first, then smear: smearing first would average the noise below the threshold.
    flakes = smear(np.where(noise < threshold, 0, noise).clip(0, 1), radius, sigma, generator.uniform(-135, -45))
    # Overcast light: 1.5 times the luma and half grey, never darker than the image. (H, W) -> (H, W, 1) for the luma.
    whitened = np.maximum(pixels, (pixels @ _GREY)[..., None] * 1.5 + 0.5)
    # The flakes turned by 180 degrees double their number at no cost.
    return keep * pixels + (1 - keep) * whitened + flakes + flakes[::-1, ::-1]


def frost(pixels: Pixels, generator: Generator, keep: float, weight: float) -> Pixels:
    """Look through a frosted window: add ``keep`` times the image and ``weight`` times a synthesised texture.

    The other parameters and the result are those of :func:`snow`.
    """
    height, width = pixels.shape[:2]
    colour, deviation = _PHOTOGRAPHS[generator.integers(len(_PHOTOGRAPHS))]
    crystals = 1 - np.abs(2 * plasma(height, width, generator, 1.4) - 1)  # Sharp where the cloud crosses its middle.
    pattern = plasma(height, width, generator, 1.8) + crystals
    # Standardised, so that mean and spread are exactly those of the photograph that is imitated, before clipping.
    pattern = (pattern - pattern.mean()) / pattern.std()
    # (3,) + (H, W, 1) -> (H, W, 3): the pattern changes the lightness, the photograph gives the colour.
    texture = (np.array(colour) + deviation * pattern[..., None]).clip(0, 255) / 255
    return keep * pixels + weight * texture


def fog(pixels: Pixels, generator: Generator, strength: float, decay: float) -> Pixels:
    """Draw a cloud over the image, at most ``strength`` thick and the smoother the larger ``decay`` is.

    The brightest value does not become brighter. The other parameters and the result are those of :func:`snow`.
    """
    brightest = pixels.max()
    height, width = pixels.shape[:2]
    # (H, W) -> (H, W, 1): the same cloud for all channels, in [0, 1].
    cloud = plasma(height, width, generator, decay)[..., None]
    # The factor maps the highest possible sum, brightest + strength, back to brightest.
    return (pixels + strength * cloud) * brightest / (brightest + strength)


def brightness(pixels: Pixels, generator: Generator, increase: float) -> Pixels:
    """Raise the value (the largest channel) of each pixel, up to 1; hue and saturation stay.

    The other parameters and the result are those of :func:`snow`.
    """
    del generator
    value = pixels.max(axis=2, keepdims=True)
    # All channels are in proportion to the value; black has no hue and becomes grey.
    share = np.divide(pixels, value, out=np.ones_like(pixels), where=value > 0)
    return share * np.minimum(value + increase, 1)
