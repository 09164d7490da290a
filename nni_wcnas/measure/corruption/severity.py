"""The corruption types, and how strong each is at each of five severities, for small and for large images.

There are two tables, which must not be mixed: CIFAR-10-C's, gentle enough for images of 32 pixels, and ImageNet-C's,
for 224 pixels. Lengths are in pixels and are not scaled with an image, so take the table made for its size. Values as
published with Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations,
ICLR 2019 (hendrycks/robustness, ImageNet-C/create_c/make_cifar_c.py at ca36008, make_imagenet_c.py at e0377d4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

__all__ = ['BENCHMARK', 'FAMILIES', 'NAMES', 'SEVERITIES', 'VALIDATION', 'Scale', 'check_names', 'check_scale',
           'check_severities', 'settings']

Scale = Literal['cifar', 'imagenet']
"""The published set whose table of severities is used: CIFAR-10-C's or ImageNet-C's."""

SEVERITIES = (1, 2, 3, 4, 5)

BENCHMARK = (
    'gaussian_noise', 'shot_noise', 'impulse_noise',
    'defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur',
    'snow', 'frost', 'fog', 'brightness',
    'contrast', 'elastic_transform', 'pixelate', 'jpeg_compression',
)
"""The 15 corruption types whose errors are averaged, in the order of the published tables."""

VALIDATION = ('speckle_noise', 'gaussian_blur', 'spatter', 'saturate')
"""The 4 extra types, one a family, for choosing settings without looking at the benchmark."""

NAMES = BENCHMARK + VALIDATION

FAMILIES = {
    'noise': ('gaussian_noise', 'shot_noise', 'impulse_noise', 'speckle_noise'),
    'blur': ('defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur', 'gaussian_blur'),
    'weather': ('snow', 'frost', 'fog', 'brightness', 'spatter'),
    'digital': ('contrast', 'elastic_transform', 'pixelate', 'jpeg_compression', 'saturate'),
}

Table = Mapping[str, tuple[tuple[float, ...], ...]]

# Each type has five tuples, one a severity. A tuple holds what the type's function takes after the image and the
# generator, in that order: see noise.py, blur.py, weather.py, spatter.py and digital.py.
_CIFAR: Table = {
    'gaussian_noise': ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,)),
    'shot_noise': ((500,), (250,), (100,), (75,), (50,)),
    'impulse_noise': ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,)),
    'speckle_noise': ((0.06,), (0.1,), (0.12,), (0.16,), (0.2,)),
    # (radius, antialias)
    'defocus_blur': ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    # (sigma, reach, passes)
    'glass_blur': ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    # (radius, sigma)
    'motion_blur': ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    # (end, step)
    'zoom_blur': ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    'gaussian_blur': ((0.4,), (0.6,), (0.7,), (0.8,), (1,)),
    # (mean, deviation, size, threshold, radius, sigma, keep)
    'snow': ((0.1, 0.2, 1, 0.6, 8, 3, 0.95), (0.1, 0.2, 1, 0.5, 10, 4, 0.9), (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
             (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8)),
    # (keep, weight)
    'frost': ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    # (strength, decay)
    'fog': ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    'brightness': ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,)),
    # (mean, deviation, sigma, threshold, strength, is_mud)
    'spatter': ((0.62, 0.1, 0.7, 0.7, 0.5, False), (0.65, 0.1, 0.8, 0.7, 0.5, False), (0.65, 0.3, 1, 0.69, 0.5, False),
                (0.65, 0.1, 0.7, 0.69, 0.6, True), (0.65, 0.1, 0.5, 0.68, 0.6, True)),
    'contrast': ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,)),
    # (height, sigma, shift)
    'elastic_transform': ((0, 0, 32 * 0.08), (32 * 0.05, 32 * 0.2, 32 * 0.07), (32 * 0.08, 32 * 0.06, 32 * 0.06),
                          (32 * 0.1, 32 * 0.04, 32 * 0.05), (32 * 0.1, 32 * 0.03, 32 * 0.03)),
    'pixelate': ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,)),
    'jpeg_compression': ((80,), (65,), (58,), (50,), (40,)),
    # (factor, increase)
    'saturate': ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
}

# The published elastic transform says 244 for the 224 pixels of an image. It is kept as published.
_IMAGENET: Table = {
    'gaussian_noise': ((0.08,), (0.12,), (0.18,), (0.26,), (0.38,)),
    'shot_noise': ((60,), (25,), (12,), (5,), (3,)),
    'impulse_noise': ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,)),
    'speckle_noise': ((0.15,), (0.2,), (0.35,), (0.45,), (0.6,)),
    'defocus_blur': ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    'glass_blur': ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    'motion_blur': ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    'zoom_blur': ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    'gaussian_blur': ((1,), (2,), (3,), (4,), (6,)),
    'snow': ((0.1, 0.3, 3, 0.5, 10, 4, 0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7), (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
             (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65), (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55)),
    'frost': ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    'fog': ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    'brightness': ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
    'spatter': ((0.65, 0.3, 4, 0.69, 0.6, False), (0.65, 0.3, 3, 0.68, 0.6, False), (0.65, 0.3, 2, 0.68, 0.5, False),
                (0.65, 0.3, 1, 0.65, 1.5, True), (0.67, 0.4, 1, 0.65, 1.5, True)),
    'contrast': ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),
    'elastic_transform': ((244 * 2, 244 * 0.7, 244 * 0.1), (244 * 2, 244 * 0.08, 244 * 0.2),
                          (244 * 0.05, 244 * 0.01, 244 * 0.02), (244 * 0.07, 244 * 0.01, 244 * 0.02),
                          (244 * 0.12, 244 * 0.01, 244 * 0.02)),
    'pixelate': ((0.6,), (0.5,), (0.4,), (0.3,), (0.25,)),
    'jpeg_compression': ((25,), (18,), (15,), (10,), (7,)),
    'saturate': ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
}


def settings(name: str, severity: int, scale: Scale) -> tuple[float, ...]:
    """Look up the numbers of a corruption type.

    Parameters
    ----------
    name
        One of :data:`NAMES`.
    severity
        1 (mild) to 5.
    scale
        ``'cifar'`` for images of about 32 pixels, ``'imagenet'`` for about 224.

    Returns
    -------
    tuple of float
        The numbers that the type's function takes after the image and the generator.

    Raises
    ------
    ValueError
        If there is no such type, severity or scale.
    """
    check_names([name])
    check_severities([severity])
    check_scale(scale)
    return (_CIFAR if scale == 'cifar' else _IMAGENET)[name][severity - 1]


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError unless each name is that of a corruption type."""
    for name in names:
        if name not in NAMES:
            raise ValueError(f'There is no corruption {name!r}; use one of {", ".join(NAMES)}.')


def check_severities(severities: Sequence[int]) -> None:
    """Raise ValueError unless each severity is an integer from 1 to 5."""
    for severity in severities:
        # Not isinstance: True is an int, and equal to 1.
        if type(severity) is not int or severity not in SEVERITIES:
            raise ValueError(f'severity={severity!r} must be an integer from 1 to 5.')


def check_scale(scale: str) -> None:
    """Raise ValueError unless ``scale`` is ``'cifar'`` or ``'imagenet'``."""
    if scale not in get_args(Scale):
        raise ValueError(
            f"There is no scale {scale!r}; use 'cifar' for images of about 32 pixels or 'imagenet' for about 224."
        )
