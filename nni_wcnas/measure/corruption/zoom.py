"""Magnifying the centre of an image, without changing its size."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

__all__ = ['magnify']


def magnify(pixels: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Crop the centre and enlarge it linearly, corner to corner, as ``scipy.ndimage.zoom(order=1)`` does.

    Parameters
    ----------
    pixels
        Shape ``(H, W, C)``, both sides at least 2.
    factor
        At least 1, and small enough that at least 2 pixels of either side are left.

    Returns
    -------
    ndarray
        Shape ``(H, W, C)``.
    """
    # Linear interpolation is separable: first the rows, then the columns.
    for axis in (0, 1):
        low, high, share = _taps(pixels.shape[axis], factor)
        # (H, 1, 1) for rows, (W, 1) for columns: both broadcast over (H, W, C).
        share = share.reshape(-1, *[1] * (2 - axis))
        pixels = pixels.take(low, axis) * (1 - share) + pixels.take(high, axis) * share
    return pixels


@functools.lru_cache(maxsize=256)
def _taps(side: int, factor: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Tell where each new pixel of a side reads: the pixel before, the one after, and the share of the latter.

    All three have shape ``(side,)``.
    """
    # Pixels of the crop, and where it begins.
    part = math.ceil(side / factor)
    first = (side - part) // 2
    enlarged = round(part * factor)
    new = np.arange(side) + (enlarged - side) // 2  # The enlarged crop may be larger: its centre is kept.
    # Corner to corner: pixel 0 reads pixel 0 of the crop, pixel enlarged - 1 reads pixel part - 1.
    at = new * (part - 1) / (enlarged - 1)
    # The last pixel is read as the one before it with a share of 1, so that low + 1 never leaves the crop.
    low = np.minimum(np.floor(at).astype(np.int64), part - 2)
    return first + low, first + low + 1, at - low
