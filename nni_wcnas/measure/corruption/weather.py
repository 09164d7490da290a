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
from numpy.typing import NDArray

from nni_wcnas.measure.corruption.motion import smear
from nni_wcnas.measure.corruption.plasma import plasma
from nni_wcnas.measure.corruption.zoom import magnify

__all__ = ['brightness', 'fog', 'frost', 'snow']

Pixels = NDArray[np.float64]

_GREY = np.array([0.299, 0.587, 0.114])
"""Luma of red, green and blue (ITU-R BT.601)."""

_PHOTOGRAPHS = (((78, 149, 166), 15), ((201, 205, 214), 16), ((201, 205, 214), 16), ((138, 153, 165), 20),
                ((112, 123, 135), 30))
"""Mean colour of each published frost texture, and the deviation inside a crop of it; in 0..255."""


def snow(pixels: Pixels, generator: Generator, mean: float, deviation: float, size: float, threshold: float,
         radius: float, sigma: float, keep: float) -> Pixels:
    """Let it snow, in one random direction within 45 degrees of vertical.

    Parameters
    ----------
    pixels
        In [0, 1], shape ``(H, W, 3)``.
    generator
        Source of all that is random.
    mean, deviation
        Of the noise that the flakes are cut from.
    size
        By how much it is magnified.
    threshold
        What is below is no flake.
    radius, sigma
        Of the smearing, as for :func:`nni_wcnas.measure.corruption.motion.smear`.
    keep
        Weight of the image against its whitened copy, in [0, 1].

    Returns
    -------
    ndarray
        Shape ``(H, W, 3)``, not clipped.
    """
    noise = magnify(generator.normal(mean, deviation, (*pixels.shape[:2], 1)), size)
    flakes = smear(np.where(noise < threshold, 0, noise).clip(0, 1), radius, sigma, generator.uniform(-135, -45))
    whitened = np.maximum(pixels, (pixels @ _GREY)[..., None] * 1.5 + 0.5)
    return keep * pixels + (1 - keep) * whitened + flakes + flakes[::-1, ::-1]


def frost(pixels: Pixels, generator: Generator, keep: float, weight: float) -> Pixels:
    """Look through a frosted window: ``keep`` times the image and ``weight`` times a synthesised texture.

    Other parameters and returns as of :func:`snow`.
    """
    height, width = pixels.shape[:2]
    colour, deviation = _PHOTOGRAPHS[generator.integers(len(_PHOTOGRAPHS))]
    crystals = 1 - np.abs(2 * plasma(height, width, generator, 1.4) - 1)  # Sharp where the cloud crosses its middle.
    pattern = plasma(height, width, generator, 1.8) + crystals
    pattern = (pattern - pattern.mean()) / pattern.std()
    texture = (np.array(colour) + deviation * pattern[..., None]).clip(0, 255) / 255
    return keep * pixels + weight * texture


def fog(pixels: Pixels, generator: Generator, strength: float, decay: float) -> Pixels:
    """Draw a cloud of this ``strength`` and ``decay`` over the image, without making its brightest value brighter.

    Other parameters and returns as of :func:`snow`.
    """
    brightest = pixels.max()
    height, width = pixels.shape[:2]
    cloud = plasma(height, width, generator, decay)[..., None]
    return (pixels + strength * cloud) * brightest / (brightest + strength)


def brightness(pixels: Pixels, generator: Generator, increase: float) -> Pixels:
    """Raise the value (the largest channel) of each pixel, up to 1; hue and saturation stay.

    Other parameters and returns as of :func:`snow`.
    """
    del generator
    value = pixels.max(axis=2, keepdims=True)
    # All channels are in proportion to the value; black has no hue and becomes grey.
    share = np.divide(pixels, value, out=np.ones_like(pixels), where=value > 0)
    return share * np.minimum(value + increase, 1)
