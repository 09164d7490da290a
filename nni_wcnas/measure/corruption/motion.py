"""Smearing along a line, as when the camera or a snowflake moves: ImageMagick's motion blur."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ['smear']


def smear(pixels: NDArray[np.float64], radius: float, sigma: float, angle: float) -> NDArray[np.float64]:
    """Average each pixel with those ahead of it on a line, with weights of half a Gaussian bell.

    Step ``i = 0 ... 2 radius`` reads the pixel at ``ceil(i (sin, cos)(angle) - 1/2)`` with a weight proportional to
    ``exp(-i^2 / (2 sigma^2))``; beyond the edge its nearest pixel counts.

    Parameters
    ----------
    pixels
        Shape ``(H, W, C)``.
    radius
        Half the length of the line, pixels.
    sigma
        Width of the bell, pixels.
    angle
        Direction of the line, degrees; 0 is to the right, 90 down.

    Returns
    -------
    ndarray
        Shape ``(H, W, C)``.
    """
    # A bell cut in half: the weight is largest at the pixel itself and falls ahead of it, so the image is smeared to
    # one side. The kernel is 2 radius + 1 long, as ImageMagick's.
    steps = np.arange(int(2 * radius) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    # Offset of each step from the pixel, both of shape (2 radius + 1,). Subtracting 1/2 before ceil rounds to the
    # nearest integer and halves down, as ImageMagick does.
    down, right = (np.ceil(steps * part - 0.5).astype(int)
                   for part in (np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))))
    # Offsets can be negative. Padding by the farthest of each side makes every shifted read below a plain slice.
    above, left = max(0, -down.min()), max(0, -right.min())
    padded = np.pad(pixels, ((above, max(0, down.max())), (left, max(0, right.max())), (0, 0)), mode='edge')
    height, width = pixels.shape[:2]
    smeared = np.zeros(pixels.shape)
    # Weights that sum to 1 keep the brightness. Summing shifted images costs one pass a step, whatever the angle.
    weights /= weights.sum()
    for weight, row, column in zip(weights.tolist(), (above + down).tolist(), (left + right).tolist()):
        smeared += weight * padded[row : row + height, column : column + width]
    return smeared
