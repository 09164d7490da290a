"""Digital: low contrast, rubber sheet, big pixels, JPEG blocks and wrong saturation.

Pseudo-code, for pixels x::

    contrast            mean + factor * (x - mean), by channel
    elastic_transform   a random affine map, then a random smooth displacement of each pixel
    pixelate            shrink and enlarge by boxes
    jpeg_compression    write and read
    saturate            factor * saturation + increase, of hue, saturation, value
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

__all__ = ['contrast', 'elastic_transform', 'jpeg_compression', 'pixelate', 'saturate']

Pixels = NDArray[np.float64]


def contrast(pixels: Pixels, generator: Generator, factor: float) -> Pixels:
    """Draw all pixels towards the mean of their channel.

    Parameters
    ----------
    pixels
        In [0, 1], shape ``(H, W, 3)``.
    generator
        Not used: nothing is random here.
    factor
        What is left of the contrast.

    Returns
    -------
    ndarray
        Shape ``(H, W, 3)``.
    """
    del generator
    mean = pixels.mean(axis=(0, 1))
    return mean + factor * (pixels - mean)


def elastic_transform(pixels: Pixels, generator: Generator, height: float, sigma: float, shift: float) -> Pixels:
    """Stretch the image as a rubber sheet; beyond the edge it is mirrored.

    Parameters
    ----------
    pixels
        In [0, 1], shape ``(H, W, 3)``.
    generator
        Source of all that is random.
    height
        Of the displacement before it is smoothed, pixels.
    sigma
        How much it is smoothed, pixels.
    shift
        By how much each coordinate of three points moves at most, which gives the affine map, pixels.

    Returns
    -------
    ndarray
        Shape ``(H, W, 3)``.

    References
    ----------
    Simard, Steinkraus and Platt, Best practices for convolutional neural networks, ICDAR 2003.
    """
    grid = np.indices(pixels.shape[:2], dtype=float)  # (2, H, W)
    pixels = _sample(pixels, _affine(grid, generator, shift), 'mirror')
    moves = generator.uniform(-1, 1, grid.shape)
    moves = height * ndimage.gaussian_filter(moves, (0, sigma, sigma), mode='reflect', truncate=3)
    return _sample(pixels, grid + moves, 'reflect')


def pixelate(pixels: Pixels, generator: Generator, factor: float) -> Pixels:
    """Shrink both sides to ``factor`` of them, by averages of boxes, and enlarge again.

    Other parameters and returns as of :func:`contrast`.
    """
    del generator
    height, width = pixels.shape[:2]
    small = _picture(pixels).resize((int(width * factor), int(height * factor)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BOX)) / 255


def jpeg_compression(pixels: Pixels, generator: Generator, quality: float) -> Pixels:
    """Write the image as JPEG of this ``quality``, 1 to 95, and read it.

    Other parameters and returns as of :func:`contrast`.
    """
    del generator
    file = BytesIO()
    _picture(pixels).save(file, 'JPEG', quality=int(quality))
    with Image.open(file) as image:
        return np.asarray(image) / 255


def saturate(pixels: Pixels, generator: Generator, factor: float, increase: float) -> Pixels:
    """Change the saturation to ``factor`` times it plus ``increase``, within [0, 1]; hue and value stay.

    Grey has hue 0, so an increase turns it reddish: as published. Other parameters and returns as of :func:`contrast`.
    """
    del generator
    value = pixels.max(axis=2, keepdims=True)
    lack = value - pixels  # Of each channel, in proportion to the saturation.
    most = lack.max(axis=2, keepdims=True)
    hue = np.divide(lack, most, out=np.broadcast_to([0.0, 1, 1], pixels.shape).copy(), where=most > 0)
    saturation = np.divide(most, value, out=np.zeros_like(value), where=value > 0)
    return value * (1 - hue * (factor * saturation + increase).clip(0, 1))


def _picture(pixels: Pixels) -> Image.Image:
    """For Pillow."""
    return Image.fromarray(np.rint(pixels * 255).astype(np.uint8))


def _affine(grid: Pixels, generator: Generator, shift: float) -> Pixels:
    """Where each pixel comes from, shape ``(2, H, W)``, if three points near the centre move at random."""
    sides = np.array(grid.shape[1:])
    centre, reach = sides // 2, sides.min() // 3
    before = centre + reach * np.array([[1, 1], [-1, 1], [-1, -1]])  # Rows and columns.
    after = before + generator.uniform(-shift, shift, before.shape)
    back = np.linalg.solve(np.column_stack([after, np.ones(3)]), before)  # (3, 2)
    return np.tensordot(back[:2].T, grid, 1) + back[2][:, None, None]


def _sample(pixels: Pixels, coordinates: Pixels, mode: str) -> Pixels:
    """Read between pixels, linearly."""
    channels = [ndimage.map_coordinates(pixels[..., channel], coordinates, order=1, mode=mode) for channel in range(3)]
    return np.stack(channels, axis=2)
