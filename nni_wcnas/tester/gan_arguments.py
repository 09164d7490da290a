"""The arguments that every kind of GAN has, and the ranges of their values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nni_wcnas.tester.sgd import check_rates

__all__ = ['COMMON', 'IMAGE_SIZES', 'SEARCH_ONLY', 'check_common']

IMAGE_SIZES = (16, 32, 64, 128)
"""Sides of the images that a GAN can make, in pixels."""

# Numbers of the optimisers of a search. Pre-training has Adam with numbers of its own.
_OF_THE_SEARCH = ('generator_lr', 'generator_momentum', 'generator_weight_decay', 'generator_gradient_clip_val',
                  'min_lr', 'discriminator_lr')

COMMON = (*_OF_THE_SEARCH, 'ema_decay', 'ema_start')
"""Names of the arguments that every kind has and that do not shape its networks."""

SEARCH_ONLY = (*_OF_THE_SEARCH, 'learns')
"""Names of arguments that do nothing in pre-training, unless they shape the networks of a kind."""


def check_common(settings: dict[str, Any], *, positive: Sequence[str]) -> None:
    """Raise ValueError if one of the arguments that every kind has is out of its range.

    Parameters
    ----------
    settings
        The arguments by name.
    positive
        Names of further arguments that must be at least 1.

    Raises
    ------
    ValueError
        If a value is out of its range; it names the argument and the range.
    """
    if settings['image_size'] not in IMAGE_SIZES:
        raise ValueError(f'image_size must be one of {IMAGE_SIZES}, but is {settings["image_size"]}; '
                         'resize the data to one of them.')
    for name in ('num_classes', 'latent', *positive):
        if settings[name] < 1:
            raise ValueError(f'{name} must be at least 1, but is {settings[name]}.')
    if not 0 <= settings['ema_decay'] <= 1 or settings['ema_start'] < 0:
        raise ValueError('ema_decay must lie in [0, 1] and ema_start must not be negative, '
                         f'but they are {settings["ema_decay"]} and {settings["ema_start"]}.')
    if not 0 < settings['discriminator_lr'] < math.inf:
        raise ValueError(f'discriminator_lr must be positive and finite, but is {settings["discriminator_lr"]}.')
    check_rates('generator', settings['generator_lr'], settings['min_lr'], settings['generator_momentum'],
                settings['generator_weight_decay'], settings['generator_gradient_clip_val'])
