"""Apply one corruption at one severity to one image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nni_wcnas.measure.corruption import blur, digital, noise, weather
from nni_wcnas.measure.corruption.pixels import Pixels
from nni_wcnas.measure.corruption.severity import Scale, settings
from nni_wcnas.measure.corruption.spatter import spatter

__all__ = ['corrupt']

_SMALLEST = 8
"""Shortest side that an image may have, pixels."""

# In the order of the families of severity.py. Each takes (pixels, generator, *numbers), whether or not it draws.
_TYPES: Mapping[str, Callable[..., Pixels]] = {
    'gaussian_noise': noise.gaussian_noise,
    'shot_noise': noise.shot_noise,
    'impulse_noise': noise.impulse_noise,
    'speckle_noise': noise.speckle_noise,
    'defocus_blur': blur.defocus_blur,
    'glass_blur': blur.glass_blur,
    'motion_blur': blur.motion_blur,
    'zoom_blur': blur.zoom_blur,
    'gaussian_blur': blur.gaussian_blur,
    'snow': weather.snow,
    'frost': weather.frost,
    'fog': weather.fog,
    'brightness': weather.brightness,
    'spatter': spatter,
    'contrast': digital.contrast,
    'elastic_transform': digital.elastic_transform,
    'pixelate': digital.pixelate,
    'jpeg_compression': digital.jpeg_compression,
    'saturate': digital.saturate,
}


def corrupt(image: NDArray[np.uint8], name: str, severity: int, generator: Generator, *,
            scale: Scale) -> NDArray[np.uint8]:
    """Corrupt an image.

    Parameters
    ----------
    image
        uint8, shape ``(H, W, 3)``, both sides at least 8; it is not changed.
    name
        One of :data:`nni_wcnas.measure.corruption.NAMES`.
    severity
        1 (mild) to 5.
    generator
        Source of all that is random; nothing is drawn from a global state.
    scale
        Which table of severities to use: ``'cifar'`` for images of about 32 pixels, ``'imagenet'`` for about 224.

    Returns
    -------
    ndarray
        uint8, shape ``(H, W, 3)``; fractions of a grey level are cut off, as in the published sets.

    Raises
    ------
    ValueError
        If the image has another shape or dtype, or there is no such type, severity or scale.
    TypeError
        If ``generator`` is no generator of NumPy.

    Examples
    --------
    >>> image = np.full((32, 32, 3), 100, np.uint8)
    >>> int(corrupt(image, 'brightness', 5, np.random.default_rng(0), scale='cifar')[0, 0, 0])
    176

    References
    ----------
    Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR 2019.
    """
    numbers: tuple[Any, ...] = settings(name, severity, scale)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < _SMALLEST:
        raise ValueError(
            f'An image must be uint8 of shape (H, W, 3) with sides of at least {_SMALLEST}, not {image.dtype} of shape '
            f'{image.shape}; scale to 0..255 and put the channels last.'
        )
    if not isinstance(generator, Generator):
        raise TypeError(f'generator={generator!r} is none; pass numpy.random.default_rng(seed).')
    # All types work on float64 in [0, 1] and may leave this range: clipping is done here once.
    pixels = _TYPES[name](image / 255, generator, *numbers)
    # The millionth keeps a whole level whole, whatever the rounding of 255 * (level / 255).
    return (pixels.clip(0, 1) * 255 + 1e-6).astype(np.uint8)
