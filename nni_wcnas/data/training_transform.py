"""Build the training transform of a data set from its arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .augmentation import Augmentation
from .error import DataArgumentError
from .policy import named_policy
from .store import ImageSet

__all__ = ['is_image_by_image', 'training_transform']


def training_transform(
    images: ImageSet,
    *,
    augment: bool,
    cutout: int,
    crop: str,
    color_jitter: float | Sequence[float],
    auto_augment: str | None,
) -> Augmentation:
    """Build the augmentation that these arguments of :class:`nni_wcnas.data.ImageData` ask for.

    Parameters
    ----------
    images
        The data set, which gives the side, the mean colour and whether a mirrored image keeps its class.
    augment, cutout, crop, color_jitter, auto_augment
        Arguments as for :class:`nni_wcnas.data.ImageData`.

    Raises
    ------
    DataError
        If an argument is out of range.
    """
    if not 0 <= cutout <= images.image_size:
        raise DataArgumentError(
            'cutout', cutout, 'use 0 for no cutout', reason=f'must lie between 0 and the image size {images.image_size}'
        )
    if crop not in ('padded', 'resized'):
        raise DataArgumentError('crop', crop, "use 'padded' or 'resized'", reason='is unknown')
    return Augmentation(
        # An eighth of the side at each border, as RandomCrop(32, padding=4).
        padding=images.image_size // 8 if augment and crop == 'padded' else 0,
        flip=augment and images.flip,
        cutout=cutout,
        resized=augment and crop == 'resized',
        policy=None if auto_augment is None else named_policy(auto_augment, images.image_size, images.mean),
        color_jitter=_jitter(color_jitter),
    )


def is_image_by_image(arguments: Mapping[str, Any]) -> bool:
    """Tell whether arguments of :class:`nni_wcnas.data.ImageData` ask for what torchvision and timm do on the CPU."""
    names_one = arguments.get('crop') == 'resized' or arguments.get('auto_augment') is not None
    return names_one or bool(_jitter(arguments.get('color_jitter', 0)))


def _jitter(given: float | Sequence[float]) -> tuple[float, ...]:
    """Return how far brightness, contrast, saturation and perhaps hue change; empty where nothing changes."""
    numbers = (given,) * 3 if isinstance(given, (int, float)) else tuple(given)
    is_possible = len(numbers) in (3, 4) and all(math.isfinite(number) and number >= 0 for number in numbers)
    # The hue is a circle: 0.5 is half-way around, and torchvision allows no more.
    if not is_possible or max(numbers[3:], default=0) > 0.5:
        raise DataArgumentError(
            'color_jitter', given, 'use 0 for none',
            reason='must be one number, three or four (brightness, contrast, saturation, hue), none negative and the '
                   'hue at most 0.5',
        )
    return numbers if any(numbers) else ()
