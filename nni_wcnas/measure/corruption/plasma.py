"""Clouds by the diamond-square algorithm (Fournier et al., Computer rendering of stochastic models, 1982)."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

__all__ = ['plasma']


def plasma(height: int, width: int, generator: Generator, decay: float) -> NDArray[np.float64]:
    """Draw a random landscape in which features of half the size are ``decay^2`` times less high.

    The landscape is drawn on a square whose side is a power of two and whose opposite edges meet. Its upper left corner
    is returned.

    Parameters
    ----------
    height, width
        Size of the result, pixels.
    generator
        Source of all that is random.
    decay
        Factor above 1; the larger it is, the smoother is the landscape.

    Returns
    -------
    ndarray
        Shape ``(height, width)``; the square's lowest point is 0, its highest 1.
    """
    # The smallest power of two that is not below either side: every level halves the step exactly, down to 1.
    side = 1 << (max(height, width) - 1).bit_length()
    land = np.zeros((side, side))
    roughness, step = 1.0, side
    while step >= 2:
        # One level: the points of the grid of this step are known, those half a step between them are drawn. Arrays
        # below have shape (count, count), one entry for each square of the grid.
        half, count = step // 2, side // step
        noise = generator.uniform(-roughness, roughness, (3, count, count))
        corners = land[::step, ::step]
        # A roll by -1 gives each square its right or lower neighbour. It wraps around, which is why opposite edges
        # meet.
        right, below = np.roll(corners, -1, 1), np.roll(corners, -1, 0)
        # Diamond step: the centre of a square is the mean of its four corners plus noise.
        centres = (corners + right + below + np.roll(right, -1, 0)) / 4 + noise[0]
        land[half::step, half::step] = centres
        # Square step: the middle of an edge is the mean of its two ends and of the centres on both sides, plus noise.
        # First the upper edges of the squares, then the left ones.
        land[::step, half::step] = (corners + right + centres + np.roll(centres, 1, 0)) / 4 + noise[1]
        land[half::step, ::step] = (corners + below + centres + np.roll(centres, 1, 1)) / 4 + noise[2]
        # The published code multiplies its uniform noise by the amplitude once more, so its decay acts twice a level.
        step, roughness = half, roughness / decay**2
    # The range is that of the whole square, so the corner that is returned need not reach 0 or 1.
    land -= land.min()
    return land[:height, :width] / land.max()
