"""What all corruptions take and return."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ['Pixels']

Pixels = NDArray[np.float64]
"""An image in [0, 1], shape ``(H, W, 3)``, or one value for each of its pixels. What a corruption returns may leave
[0, 1]: :func:`nni_wcnas.measure.corruption.image.corrupt` clips it, once for all of them."""
