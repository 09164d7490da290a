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
from PIL import Image
from scipy import ndimage

from nni_wcnas.measure.corruption.pixels import Pixels

__all__ = ['contrast', 'elastic_transform', 'jpeg_compression', 'pixelate', 'saturate']


def contrast(pixels: Pixels, generator: Generator, factor: float) -> Pixels:
    """Draw all pixels towards the mean of their channel.

    Parameters
    ----------
    pixels
        In [0, 1], shape ``(H, W, 3)``.
    generator
        Not used: nothing is random here.
    factor
        Share of the contrast that is left, in [0, 1].

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
        Largest displacement of a pixel before the displacements are smoothed, pixels.
    sigma
        Standard deviation of the Gaussian that smooths the displacements, pixels.
    shift
        How far each coordinate of three points moves at most, pixels. Their movement defines the affine map.

    Returns
    -------
    ndarray
        Shape ``(H, W, 3)``.

    References
    ----------
    Simard, Steinkraus and Platt, Best practices for convolutional neural networks, ICDAR 2003.
    """
    grid = np.indices(pixels.shape[:2], dtype=float)  # (2, H, W)
    # Two passes of interpolation as published, not one over the composed map: each blurs a little. The borders differ,
    # too: OpenCV's default does not repeat the edge pixel, SciPy's does.
    pixels = _sample(pixels, _affine(grid, generator, shift), 'mirror')
    moves = generator.uniform(-1, 1, grid.shape)
    # (2, H, W): rows and columns are smoothed over the image, not into each other.
    moves = height * ndimage.gaussian_filter(moves, (0, sigma, sigma), mode='reflect', truncate=3)
    return _sample(pixels, grid + moves, 'reflect')


def pixelate(pixels: Pixels, generator: Generator, factor: float) -> Pixels:
    """Shrink both sides to ``factor`` of their length by averaging boxes, and enlarge the image again.

    The other parameters and the result are those of :func:`contrast`.
    """
    del generator
    height, width = pixels.shape[:2]
    # Pillow names the width first, NumPy the height.
    small = _picture(pixels).resize((int(width * factor), int(height * factor)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BOX)) / 255


def jpeg_compression(pixels: Pixels, generator: Generator, quality: float) -> Pixels:
    """Write the image as a JPEG of this ``quality``, 1 to 95, and read it back.

    The other parameters and the result are those of :func:`contrast`.
    """
    del generator
    file = BytesIO()
    _picture(pixels).save(file, 'JPEG', quality=int(quality))
    with Image.open(file) as image:
        return np.asarray(image) / 255


def saturate(pixels: Pixels, generator: Generator, factor: float, increase: float) -> Pixels:
    """Multiply the saturation by ``factor``, add ``increase`` and clip it to [0, 1]; hue and value stay.

    Grey has hue 0, which is red, so an increase turns it reddish, as in the published sets. The other parameters and
    the result are those of :func:`contrast`.
    """
    del generator
    # With value v, the largest channel, and saturation s = (v - smallest) / v, each channel is v (1 - h s), where h in
    # [0, 1] depends on the hue alone. So s is changed without computing the angle of the hue.
    value = pixels.max(axis=2, keepdims=True)
    lack = value - pixels  # v h s of each channel, shape (H, W, 3).
    most = lack.max(axis=2, keepdims=True)
    # Grey lacks nothing: it gets the h of red. Black has value 0 and saturation 0.
    hue = np.divide(lack, most, out=np.broadcast_to([0.0, 1, 1], pixels.shape).copy(), where=most > 0)
    saturation = np.divide(most, value, out=np.zeros_like(value), where=value > 0)
    return value * (1 - hue * (factor * saturation + increase).clip(0, 1))


def _picture(pixels: Pixels) -> Image.Image:
    """Turn pixels in [0, 1] into an image of Pillow, rounded to whole grey levels."""
    return Image.fromarray(np.rint(pixels * 255).astype(np.uint8))


def _affine(grid: Pixels, generator: Generator, shift: float) -> Pixels:
    """Tell where each pixel comes from under the affine map that moves three points near the centre at random.

    Parameters
    ----------
    grid
        Row and column of each pixel, shape ``(2, H, W)``.
    generator
        Source of all that is random.
    shift
        How far each coordinate of a point moves at most, pixels.

    Returns
    -------
    ndarray
        Row and column that each pixel reads, not rounded, shape ``(2, H, W)``.
    """
    sides = np.array(grid.shape[1:])
    centre, reach = sides // 2, sides.min() // 3
    before = centre + reach * np.array([[1, 1], [-1, 1], [-1, -1]])  # (3, 2): row, column.
    after = before + generator.uniform(-shift, shift, before.shape)
    # The inverse map, from a new position to the old one, as reading needs it: [after, 1] back = before. Three points
    # determine it.
    back = np.linalg.solve(np.column_stack([after, np.ones(3)]), before)  # (3, 2)
    # Linear part (2, 2) times grid (2, H, W), plus the shift (2,) as (2, 1, 1).
    return np.tensordot(back[:2].T, grid, 1) + back[2][:, None, None]


def _sample(pixels: Pixels, coordinates: Pixels, mode: str) -> Pixels:
    """Read ``pixels`` at ``coordinates`` of shape ``(2, H, W)``, linearly between pixels; shape ``(H, W, 3)``."""
    channels = [ndimage.map_coordinates(pixels[..., channel], coordinates, order=1, mode=mode) for channel in range(3)]
    return np.stack(channels, axis=2)
