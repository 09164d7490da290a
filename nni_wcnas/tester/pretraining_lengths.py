"""How long pre-training is: steps of both networks, from lengths in steps or in passes over the training images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from nni_wcnas.errors import InvalidArgument

__all__ = ['STEPS', 'Lengths', 'lengths']

STEPS = 1000
"""Default length in steps, of a generator and of an auxiliary model that is trained without one."""


class Lengths(NamedTuple):
    """Number of steps of the generator and of the auxiliary model."""

    generator: int
    auxiliary: int


def lengths(has_generator: bool, has_auxiliary: bool, *, steps: int | None, epochs: int | None,
            auxiliary_steps: int | None, auxiliary_epochs: int | None, batches_of_a_step: int,
            batches_of_an_epoch: Callable[[], int]) -> Lengths:
    """Return the steps of generator and auxiliary model; 0 for a network that does not exist.

    Parameters
    ----------
    has_generator, has_auxiliary
        Which networks there are to train.
    steps, epochs
        Length of the generator's training, at most one of the two; 1000 steps where neither is given. Without a
        generator it is the default of the auxiliary model.
    auxiliary_steps, auxiliary_epochs
        Length of the auxiliary model's training, at most one of the two; by default as many steps as the generator has,
        or 1000 if that has none.
    batches_of_a_step
        Number of batches that one step of the generator uses up.
    batches_of_an_epoch
        Returns the number of batches of an epoch. It is called only if a length is given in epochs.

    Raises
    ------
    ValueError
        If a length is given in both units or is negative, or if there is nothing to train.

    Examples
    --------
    >>> lengths(True, True, steps=None, epochs=2, auxiliary_steps=None, auxiliary_epochs=1, batches_of_a_step=4,
    ...         batches_of_an_epoch=lambda: 10)
    Lengths(generator=5, auxiliary=10)
    """
    # Without a generator, steps and epochs are of the auxiliary model, which uses up one batch a step.
    each = batches_of_a_step if has_generator else 1
    told = _steps('', steps, epochs, batches_of_an_epoch, each)
    told = STEPS if told is None else told
    own = _steps('auxiliary_', auxiliary_steps, auxiliary_epochs, batches_of_an_epoch, 1)
    generator = told if has_generator else 0
    # A generator that is not trained, steps=0, says nothing of the auxiliary model: that has the default then.
    auxiliary = 0 if not has_auxiliary else (told or STEPS) if own is None else own
    if not generator + auxiliary:
        raise ValueError('There is nothing to train; give at least 1 of steps or auxiliary_steps, and what has them.')
    return Lengths(generator, auxiliary)


def _steps(name: str, steps: int | None, epochs: int | None, batches: Callable[[], int], each: int) -> int | None:
    """Return a length in steps, given in steps or in epochs; None where neither is given."""
    for key, value in ((f'{name}steps', steps), (f'{name}epochs', epochs)):
        if value is not None and value < 0:
            raise InvalidArgument(key, value, 'be 0 or more')
    if steps is not None and epochs is not None:
        raise InvalidArgument(
            f'{name}steps', steps, 'give one of them', reason=f'and {name}epochs={epochs} are two lengths'
        )
    # A last, incomplete step counts, so that every image is used.
    return math.ceil(epochs * batches() / each) if epochs is not None else steps
