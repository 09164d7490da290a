"""Spatter: drops of water, or at high severities of mud, on the lens.

Pseudo-code, for pixels x::

    liquid = noise * Gaussian, 0 below the threshold
    mud:   cover = (liquid > 0) * Gaussian, 0 below 0.8;         x (1 - cover) + brown cover
    water: relief = distance from the edges of liquid, equalised, embossed and blurred
           x + turquoise strength (liquid relief) / max(liquid relief)

Distances are counted as OpenCV does for a 5x5 mask, in fixed-point steps of 1, 1.4 and 2.1969: equalising would magnify
the difference of any other way of counting.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from nni_wcnas.measure.corruption.pixels import Pixels

__all__ = ['spatter']

# The published colours and kernel. The kernel's entries sum to 1; it answers to slopes towards the lower right.
_MUD = np.array([63, 42, 20]) / 255
_WATER = np.array([175, 238, 238]) / 255
_EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
_FAR = 20
"""Distances beyond this count alike, pixels."""
_DIAGONAL, _KNIGHT = 91750 / 65536, 143976 / 65536
"""Lengths of the steps (1, 1) and (1, 2), pixels."""
_WEAK, _STRONG = 50, 150
"""Thresholds of Canny's hysteresis: gradients above the first may be an edge, those above the second are one."""


def spatter(pixels: Pixels, generator: Generator, mean: float, deviation: float, sigma: float, threshold: float,
            strength: float, is_mud: bool) -> Pixels:
    """Splash drops of water or mud of a random shape on the lens.

    Parameters
    ----------
    pixels
        In [0, 1], shape ``(H, W, 3)``.
    generator
        Source of all that is random.
    mean, deviation
        Mean and standard deviation of the Gaussian noise that the drops are cut from.
    sigma
        How much the noise is blurred, pixels.
    threshold
        Pixels whose blurred noise is below this stay dry.
    strength
        Weight of the water's colour; for mud, how much its border is blurred, pixels.
    is_mud
        Whether the drops are mud, which covers the image, or water, which brightens it.

    Returns
    -------
    ndarray
        Shape ``(H, W, 3)``, not clipped.
    """
    noise = generator.normal(mean, deviation, pixels.shape[:2])
    liquid = ndimage.gaussian_filter(noise, sigma, mode='nearest')
    liquid = np.where(liquid < threshold, 0, liquid)
    if is_mud:
        cover = ndimage.gaussian_filter((liquid > 0).astype(float), strength, mode='nearest')
        # (H, W) -> (H, W, 1). Cutting off at 0.8 keeps only the inside of the blurred drops.
        cover = np.where(cover < 0.8, 0, cover)[..., None]
        return pixels * (1 - cover) + _MUD * cover
    # Whole grey levels, which is what edges are found in as published. OpenCV's Canny takes bytes.
    levels = (liquid * 255).astype(np.uint8).astype(float)
    # The thickest drop gets the full strength. The tiny floor prevents 0 / 0 where all is dry.
    drops = levels * _relief(levels)
    return pixels + _WATER * strength * (drops / max(drops.max(), 1e-12))[..., None]


def _relief(levels: Pixels) -> Pixels:
    """Return how thick the water looks at each pixel, from 0 to 255, shape ``(H, W)``.

    Parameters
    ----------
    levels
        Grey levels of the liquid, whole numbers from 0 to 255, shape ``(H, W)``.
    """
    edges = _edges(levels)
    # Without any edge every pixel is far from one.
    distance = _distance(edges) if edges.any() else np.full(levels.shape, _FAR)
    # The millionth keeps the mean of nine equal distances equal to them.
    distance = (ndimage.uniform_filter(np.minimum(distance, _FAR), 3, mode='mirror') + 1e-6).astype(np.uint8)
    # 'mirror' is OpenCV's default border. Clipping here and rounding below follow its arithmetic on bytes.
    embossed = ndimage.correlate(_equalised(distance), _EMBOSS, mode='mirror').clip(0, 255)
    return np.rint(ndimage.uniform_filter(embossed, 3, mode='mirror'))


def _distance(edges: NDArray[np.bool_]) -> Pixels:
    """Measure the way to the nearest edge in straight, diagonal and chess knight's steps, shape ``(H, W)``.

    The nearest edge is the one at the smallest Euclidean distance. OpenCV minimises the length of the way itself, which
    may lead to another edge that is about as far.
    """
    nearest = ndimage.distance_transform_edt(~edges, return_distances=False, return_indices=True)
    # Rows and columns to the nearest edge, (2, H, W). By symmetry only the longer and the shorter leg count.
    ways = np.abs(np.indices(edges.shape) - nearest)
    long, short = ways.max(0), ways.min(0)
    # A knight's step is 2 along the longer leg and 1 along the shorter one. A flat way takes `short` of them and walks
    # the rest straight. A steeper one takes a knights and b diagonals with 2 a + b = long and a + b = short.
    mostly_straight = _KNIGHT * short + (long - 2 * short)
    return np.where(2 * short <= long, mostly_straight, _KNIGHT * (long - short) + _DIAGONAL * (2 * short - long))


def _equalised(levels: NDArray[np.uint8]) -> Pixels:
    """Spread the grey levels of an image evenly over 0..255; its lowest level becomes 0."""
    # OpenCV's histogram equalisation: the pixels of the lowest level count neither in the sum nor in the total.
    counts = np.bincount(levels.ravel(), minlength=256)
    lowest = (counts > 0).argmax()
    above = levels.size - counts[lowest]
    if above == 0:
        return levels.astype(float)
    # The table of new levels, (256,), is looked up by every pixel: (H, W).
    counts[lowest] = 0
    return np.rint(counts.cumsum() * 255 / above)[levels]


def _edges(levels: Pixels) -> NDArray[np.bool_]:
    """Find edges as Canny does (Sobel, sum of absolute derivatives, thin lines, hysteresis).

    Parameters
    ----------
    levels
        Grey levels from 0 to 255, shape ``(H, W)``.

    Returns
    -------
    ndarray
        Whether a pixel is on an edge, bool, shape ``(H, W)``.
    """
    across, down = (ndimage.sobel(levels, axis, mode='nearest') for axis in (1, 0))
    size = np.abs(across) + np.abs(down)
    # Beyond the image the gradient is 0, so that a crest at the border can be found.
    padded = np.pad(size, 1)
    height, width = size.shape

    def beside(row: int, column: int) -> Pixels:
        """Return the gradient at the neighbour so many rows and columns away, shape ``(H, W)``."""
        return padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]

    # Thin the lines: a pixel stays if its gradient exceeds that of both neighbours along its direction, which is
    # rounded to one of four. The sectors are 45 degrees wide, hence the tangent of 22.5.
    slope, tangent = np.abs(down), np.tan(np.pi / 8)
    is_flat, is_steep = slope < np.abs(across) * tangent, slope * tangent > np.abs(across)
    falling = across * down >= 0
    # Of two equal neighbours in a row or column one stays: > on one side and >= on the other, as in OpenCV.
    is_crest = np.select(
        [is_flat, is_steep, falling],
        [(size > beside(0, -1)) & (size >= beside(0, 1)), (size > beside(-1, 0)) & (size >= beside(1, 0)),
         (size > beside(-1, -1)) & (size > beside(1, 1))],
        (size > beside(-1, 1)) & (size > beside(1, -1)),
    )
    candidates = is_crest & (size > _WEAK)
    # Hysteresis: of the 8-connected lines of weak edges those stay that contain a strong one.
    lines, _ = ndimage.label(candidates, np.ones((3, 3)))
    return candidates & np.isin(lines, lines[candidates & (size > _STRONG)])
