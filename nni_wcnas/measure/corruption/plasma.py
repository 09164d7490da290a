"""Clouds by the diamond-square algorithm (Fournier et al., Computer rendering of stochastic models, 1982)."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

__all__ = ['plasma']


def plasma(height: int, width: int, generator: Generator, decay: float) -> NDArray[np.float64]:
    """Draw a random landscape whose features of half the size are ``decay^2`` times less high.

    Drawn on a square whose side is a power of two and whose opposite edges meet; the part asked for is its corner.

    Parameters
    ----------
    height, width
        Pixels.
    generator
        Source of all that is random.
    decay
        Above 1; large is smooth.

    Returns
    -------
    ndarray
        Shape ``(height, width)``; the square's lowest point is 0, its highest 1.
    """
    side = 1 << (max(height, width) - 1).bit_length()
    land = np.zeros((side, side))
    roughness, step = 1.0, side
    while step >= 2:
        half, count = step // 2, side // step
        noise = generator.uniform(-roughness, roughness, (3, count, count))
        corners = land[::step, ::step]
        right, below = np.roll(corners, -1, 1), np.roll(corners, -1, 0)
        centres = (corners + right + below + np.roll(right, -1, 0)) / 4 + noise[0]
        land[half::step, half::step] = centres
        land[::step, half::step] = (corners + right + centres + np.roll(centres, 1, 0)) / 4 + noise[1]
        land[half::step, ::step] = (corners + below + centres + np.roll(centres, 1, 1)) / 4 + noise[2]
        step, roughness = half, roughness / decay**2
    land -= land.min()
    return land[:height, :width] / land.max()
