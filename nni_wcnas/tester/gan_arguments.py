"""The arguments that every kind of GAN has, and the ranges of their values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nni_wcnas.errors import InvalidArgument
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
        raise InvalidArgument(
            'image_size', settings['image_size'], 'resize the data to one of them',
            reason=f'is not one of {IMAGE_SIZES}',
        )
    for name in ('num_classes', 'latent', *positive):
        if settings[name] < 1:
            raise InvalidArgument(name, settings[name], 'be at least 1')
    if not 0 <= settings['ema_decay'] <= 1:
        raise InvalidArgument('ema_decay', settings['ema_decay'], 'lie in [0, 1]')
    if settings['ema_start'] < 0:
        raise InvalidArgument('ema_start', settings['ema_start'], 'be 0 or more')
    if not 0 < settings['discriminator_lr'] < math.inf:
        raise InvalidArgument('discriminator_lr', settings['discriminator_lr'], 'be positive and finite')
    check_rates('generator', settings['generator_lr'], settings['min_lr'], settings['generator_momentum'],
                settings['generator_weight_decay'], settings['generator_gradient_clip_val'])
