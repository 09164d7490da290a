"""Blur: by the lens, by frosted glass, by motion, by zooming while the shutter is open, and by a Gaussian.

Pseudo-code, for pixels x::

    defocus_blur    x * disk                          (antialiased by a small Gaussian)
    glass_blur      x * Gaussian, pixels moved at random over short ways, * Gaussian again
    motion_blur     x smeared along a line of random direction, within 45 degrees of horizontal
    zoom_blur       mean of x and x magnified by 1, 1 + step, ...
    gaussian_blur   x * Gaussian

where * is a convolution. All functions take the pixels, the source of random numbers, and then the numbers that
:func:`nni_wcnas.measure.corruption.severity.settings` looks up.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from nni_wcnas.measure.corruption.motion import smear
from nni_wcnas.measure.corruption.pixels import Pixels
from nni_wcnas.measure.corruption.zoom import magnify

__all__ = ['defocus_blur', 'gaussian_blur', 'glass_blur', 'motion_blur', 'zoom_blur']


def defocus_blur(pixels: Pixels, generator: Generator, radius: float, antialias: float) -> Pixels:
    """Spread each pixel over a disk; beyond the edge the image is mirrored.

    Parameters
    ----------
    pixels
        In [0, 1], shape ``(H, W, 3)``.
    generator
        Not used: nothing is random here.
    radius
        Radius of the disk, pixels.
    antialias
        Standard deviation of the Gaussian that softens the disk's border, pixels.

    Returns
    -------
    ndarray
        Shape ``(H, W, 3)``.
    """
    del generator
    # The kernel (k, k) becomes (k, k, 1), so that channels do not mix. 'mirror' does not repeat the edge pixel: it is
    # OpenCV's default border.
    return ndimage.correlate(pixels, _disk(radius, antialias)[..., None], mode='mirror')


def glass_blur(pixels: Pixels, generator: Generator, sigma: float, reach: float, passes: float) -> Pixels:
    """Look through frosted glass: blur, give each pixel the colour of a random near one, and blur again.

    The authors of the published sets meant to swap two pixels, but in their code the second keeps its colour. This
    function does the same. A colour comes from up to ``reach`` to the left or above, but from up to ``reach - 1`` to
    the right or below.

    Parameters
    ----------
    pixels, generator
        As for :func:`motion_blur`.
    sigma
        Standard deviation of the Gaussian, pixels.
    reach
        How far a colour travels at most, pixels.
    passes
        How many times all pixels are gone through.

    Returns
    -------
    ndarray
        Shape ``(H, W, 3)``.
    """
    height, width = pixels.shape[:2]
    reach = int(reach)
    # Moving positions in a list is many times faster than moving pixels in an array.
    origin = list(range(height * width))
    # Flat positions of the pixels that change, from the lower right to the upper left as published. A frame is left
    # out, so that no source lies outside the image.
    targets = np.arange(height - reach, reach, -1)[:, None] * width + np.arange(width - reach, reach, -1)
    order = targets.ravel().tolist()
    for _ in range(int(passes)):
        # The upper end is exclusive, hence reach - 1 to the right and below.
        down, right = generator.integers(-reach, reach, (2, *targets.shape))
        # One after the other, never vectorised: a source that has already moved passes on the colour that it received.
        for target, source in zip(order, (targets + down * width + right).ravel().tolist()):
            origin[target] = origin[source]
    blurred = np.floor(_gaussian(pixels, sigma) * 255 + 1e-9) / 255  # Whole grey levels, as published.
    # (H, W, 3) -> (H W, 3), reordered by position, and back.
    return _gaussian(blurred.reshape(-1, 3)[origin].reshape(pixels.shape), sigma)


def motion_blur(pixels: Pixels, generator: Generator, radius: float, sigma: float) -> Pixels:
    """Move the camera along a straight line, within 45 degrees of horizontal.

    Parameters
    ----------
    pixels
        In [0, 1], shape ``(H, W, 3)``.
    generator
        Source of all that is random.
    radius, sigma
        As for :func:`nni_wcnas.measure.corruption.motion.smear`.

    Returns
    -------
    ndarray
        Shape ``(H, W, 3)``.
    """
    return smear(pixels, radius, sigma, generator.uniform(-45, 45))


def zoom_blur(pixels: Pixels, generator: Generator, end: float, step: float) -> Pixels:
    """Zoom in while the shutter is open: average the image magnified by factors from 1 to about ``end`` by ``step``.

    The other parameters and the result are those of :func:`defocus_blur`.
    """
    del generator
    factors = np.arange(1, end, step).tolist()  # Rounding decides whether the end belongs: the published arithmetic.
    # The image itself counts twice: here, and as the factor 1. So it is in the published code.
    total = pixels.copy()
    for factor in factors:
        total += magnify(pixels, factor)
    return total / (len(factors) + 1)


def gaussian_blur(pixels: Pixels, generator: Generator, sigma: float) -> Pixels:
    """Blur with a Gaussian of standard deviation ``sigma`` pixels.

    The other parameters and the result are those of :func:`defocus_blur`.
    """
    del generator
    return _gaussian(pixels, sigma)


def _gaussian(pixels: Pixels, sigma: float) -> Pixels:
    """Blur height and width but not channels, up to four deviations away; beyond the edge the nearest pixel counts."""
    return ndimage.gaussian_filter(pixels, (sigma, sigma, 0), mode='nearest', truncate=4)


@functools.lru_cache(maxsize=32)
def _disk(radius: float, antialias: float) -> Pixels:
    """Return the kernel of a softened disk, shape ``(k, k)`` with an odd k.

    Its sum is 1, except where the disk touches its frame (radii 8 and 10): there the softening adds a little, as in the
    published sets.
    """
    # The frame, and the softening of 3x3 or 5x5 pixels below, have the published sizes.
    reach = 8 if radius <= 8 else int(radius)
    line = np.arange(-reach, reach + 1)
    disk = (line[:, None] ** 2 + line**2 <= radius**2).astype(float)
    disk /= disk.sum()
    width = 1 if radius <= 8 else 2
    # A Gaussian is separable: rows first, then columns, by the same (2 width + 1,) weights.
    bell = np.exp(-(np.arange(-width, width + 1) ** 2) / (2 * antialias**2))
    for axis in (0, 1):
        disk = ndimage.correlate1d(disk, bell / bell.sum(), axis, mode='mirror')
    # Rows and columns that are 0 all along only cost time. The disk is symmetric, so one margin serves all four sides.
    margin = int(disk.any(0).argmax())
    return disk[margin : len(disk) - margin, margin : len(disk) - margin]
