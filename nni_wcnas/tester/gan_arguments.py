"""Arguments that every kind of GAN has, and what their values may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nni_wcnas.tester.sgd import check_rates

__all__ = ['COMMON', 'IMAGE_SIZES', 'SEARCH_ONLY', 'check_common']

IMAGE_SIZES = (16, 32, 64, 128)
"""Sides of the images, in pixels."""

_OF_THE_SEARCH = ('generator_lr', 'generator_momentum', 'generator_weight_decay', 'generator_gradient_clip_val',
                  'min_lr', 'discriminator_lr')

COMMON = (*_OF_THE_SEARCH, 'ema_decay', 'ema_start')
"""Arguments of every kind that are not its structure."""

SEARCH_ONLY = (*_OF_THE_SEARCH, 'learns')
"""Arguments that do nothing in pre-training, unless they shape the networks."""


def check_common(settings: dict[str, Any], *, positive: Sequence[str]) -> None:
    """Refuse values out of their range.

    Parameters
    ----------
    settings
        The arguments by name.
    positive
        Names of those that must be at least 1.

    Raises
    ------
    ValueError
        Naming the argument and its range.
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
