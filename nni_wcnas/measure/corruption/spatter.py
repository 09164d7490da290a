"""Spatter: drops of water, or at high severities of mud, on the lens.

Pseudo-code, for pixels x::

    liquid = noise * Gaussian, 0 below the threshold
    mud:   cover = (liquid > 0) * Gaussian, 0 below 0.8;         x (1 - cover) + brown cover
    water: relief = distance from the edges of liquid, equalised, embossed and blurred
           x + turquoise strength (liquid relief) / max(liquid relief)

Distances are counted as OpenCV does for a 5x5 mask, in fixed-point steps of 1, 1.4 and 2.1969: equalising magnifies any
other way.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ['spatter']

Pixels = NDArray[np.float64]

_MUD = np.array([63, 42, 20]) / 255
_WATER = np.array([175, 238, 238]) / 255
_EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
_FAR = 20
"""Distances beyond count alike, pixels."""
_DIAGONAL, _KNIGHT = 91750 / 65536, 143976 / 65536
"""Lengths of the steps (1, 1) and (1, 2), pixels."""
_WEAK, _STRONG = 50, 150
"""Gradients that may be an edge, and that are one, in 0..255."""


def spatter(pixels: Pixels, generator: Generator, mean: float, deviation: float, sigma: float, threshold: float,
            strength: float, is_mud: bool) -> Pixels:
    """Splash drops of a random shape.

    Parameters
    ----------
    pixels
        In [0, 1], shape ``(H, W, 3)``.
    generator
        Source of all that is random.
    mean, deviation
        Of the noise that the drops are cut from.
    sigma
        How much it is blurred, pixels.
    threshold
        What is below is dry.
    strength
        Of the water's colour; for mud, how much its border is blurred, pixels.
    is_mud
        Whether it is mud.

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
        cover = np.where(cover < 0.8, 0, cover)[..., None]
        return pixels * (1 - cover) + _MUD * cover
    levels = (liquid * 255).astype(np.uint8).astype(float)
    drops = levels * _relief(levels)
    return pixels + _WATER * strength * (drops / max(drops.max(), 1e-12))[..., None]


def _relief(levels: Pixels) -> Pixels:
    """How thick the water looks at each pixel, 0..255, shape ``(H, W)``."""
    edges = _edges(levels)
    distance = _distance(edges) if edges.any() else np.full(levels.shape, _FAR)
    # The millionth keeps the mean of nine equal distances equal to them.
    distance = (ndimage.uniform_filter(np.minimum(distance, _FAR), 3, mode='mirror') + 1e-6).astype(np.uint8)
    embossed = ndimage.correlate(_equalised(distance), _EMBOSS, mode='mirror').clip(0, 255)
    return np.rint(ndimage.uniform_filter(embossed, 3, mode='mirror'))


def _distance(edges: NDArray[np.bool_]) -> Pixels:
    """Length of the way to the nearest edge in steps to the side, diagonal, and of a chess knight; ``(H, W)``."""
    nearest = ndimage.distance_transform_edt(~edges, return_distances=False, return_indices=True)
    ways = np.abs(np.indices(edges.shape) - nearest)
    long, short = ways.max(0), ways.min(0)
    mostly_straight = _KNIGHT * short + (long - 2 * short)
    return np.where(2 * short <= long, mostly_straight, _KNIGHT * (long - short) + _DIAGONAL * (2 * short - long))


def _equalised(levels: NDArray[np.uint8]) -> Pixels:
    """Spread the grey levels evenly over 0..255; the lowest there is becomes 0."""
    counts = np.bincount(levels.ravel(), minlength=256)
    lowest = (counts > 0).argmax()
    above = levels.size - counts[lowest]
    if above == 0:
        return levels.astype(float)
    counts[lowest] = 0
    return np.rint(counts.cumsum() * 255 / above)[levels]


def _edges(levels: Pixels) -> NDArray[np.bool_]:
    """Find edges as Canny does (Sobel, sum of absolute derivatives, thin lines, hysteresis), shape ``(H, W)``."""
    across, down = (ndimage.sobel(levels, axis, mode='nearest') for axis in (1, 0))
    size = np.abs(across) + np.abs(down)
    padded = np.pad(size, 1)
    height, width = size.shape

    def beside(row: int, column: int) -> Pixels:
        """The gradient one pixel away."""
        return padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]

    slope, tangent = np.abs(down), np.tan(np.pi / 8)
    is_flat, is_steep = slope < np.abs(across) * tangent, slope * tangent > np.abs(across)
    falling = across * down >= 0
    is_crest = np.select(
        [is_flat, is_steep, falling],
        [(size > beside(0, -1)) & (size >= beside(0, 1)), (size > beside(-1, 0)) & (size >= beside(1, 0)),
         (size > beside(-1, -1)) & (size > beside(1, 1))],
        (size > beside(-1, 1)) & (size > beside(1, -1)),
    )
    candidates = is_crest & (size > _WEAK)
    lines, _ = ndimage.label(candidates, np.ones((3, 3)))
    return candidates & np.isin(lines, lines[candidates & (size > _STRONG)])
