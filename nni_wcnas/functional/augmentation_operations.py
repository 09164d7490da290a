"""The operations of augmentation policies: the fifteen of DADA, in its order, then two of contrastive learning.

A magnitude m in [0, 1] means the value low + m (high - low); the value of a geometric operation has a random sign.
Where an operation has no derivative by its magnitude, that of every pixel is taken to be 1 (straight-through), as DADA
does for all of them.

DADA's operations turn colours only together with everything else and never blur, so hue and blur are here as well
(Chen et al. have both). Which operations a policy has is told by :func:`chosen_operations`.

References
----------
Li et al., "DADA: Differentiable Automatic Data Augmentation", ECCV 2020, section 3 and its table of operations; Chen et
al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, appendix A.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional import affine, tone
from nni_wcnas.functional.blur import gaussian_blur
from nni_wcnas.functional.cutout import cutout

__all__ = ['DADA', 'GENTLE', 'OPERATIONS', 'Operation', 'OperationChoice', 'chosen_operations']

OperationChoice = str | Sequence[str] | Mapping[str, Sequence[float] | None]
"""A choice of operations: the name of a set, names of operations, or a range of values by name, None for the usual."""


@dataclass(frozen=True)
class Operation:
    """One way to change images, whose pixels are in [0, 1].

    The range of values runs from ``low``, at magnitude 0, to ``high``, at magnitude 1.
    """

    name: str
    low: float
    high: float
    change: Callable[[Tensor, Tensor, Tensor], Tensor]
    """The change itself: a function of images ``(N, 3, H, W)``, values ``(N,)`` and places ``(N, 2)`` in [0, 1]."""
    is_signed: bool = False
    """Whether the value gets a random sign."""
    has_gradient: bool = True
    """Whether the changed images have a derivative by the value; without one it is taken to be 1."""

    def __call__(self, images: Tensor, magnitude: Tensor, sign: Tensor, place: Tensor) -> Tensor:
        """Change each image by this operation.

        Parameters
        ----------
        images
            Pixels in [0, 1], shape ``(N, 3, H, W)``.
        magnitude
            m of each image, in [0, 1], shape ``(N,)``.
        sign
            -1 or 1 for each image, shape ``(N,)``; only signed operations look at it.
        place
            Row and column in image sides, in [0, 1], shape ``(N, 2)``; only cutout looks at it.

        Returns
        -------
        The changed images, shape ``(N, 3, H, W)``, differentiable in ``magnitude``.
        """
        value = self.low + magnitude * (self.high - self.low)
        value = value * sign if self.is_signed else value
        if self.has_gradient:
            return self.change(images, value, place)
        # Straight-through, as in DADA: the difference is exactly 0, and its derivative is 1 for every pixel of the
        # image.
        return self.change(images, value.detach(), place) + (magnitude - magnitude.detach()).view(-1, 1, 1, 1)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the operation as its name and range, as some of the functions are lambdas, which cannot be pickled."""
        # The range is kept with the name: an operation of a policy may have one of its own.
        return _named, (self.name, self.low, self.high)


def _named(name: str, low: float, high: float) -> Operation:
    """Return the known operation of this name with another range."""
    return replace(OPERATIONS[name], low=low, high=high)


def _by_value(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Let a change that has a value but no place be called with both."""
    return lambda images, value, place: change(images, value)


def _alone(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Let a change that has neither value nor place be called with both."""
    return lambda images, value, place: change(images)


def _geometric(name: str, limit: float, change: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    """Return an operation whose value lies between -limit and limit and gets a random sign."""
    return Operation(name, -limit, limit, _by_value(change), is_signed=True)


def _step(name: str, low: float, high: float, change: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Operation:
    """Return an operation without a derivative by its value."""
    return Operation(name, low, high, change, has_gradient=False)


def _blur(images: Tensor, share: Tensor) -> Tensor:
    """Blur images by a deviation in shares of their side."""
    return gaussian_blur(images, share * images.shape[-1])


# The ranges of the first fifteen are DADA's. Pairs of a policy act in this order, so it is part of the method.
_IN_ORDER = (
    _geometric('shear_x', 0.3, affine.shear_x),
    _geometric('shear_y', 0.3, affine.shear_y),
    _geometric('translate_x', 0.45, affine.translate_x),
    _geometric('translate_y', 0.45, affine.translate_y),
    _geometric('rotate', 30.0, affine.rotate),
    _step('auto_contrast', 0.0, 1.0, _alone(tone.auto_contrast)),
    _step('invert', 0.0, 1.0, _alone(tone.invert)),
    _step('equalize', 0.0, 1.0, _alone(tone.equalize)),
    # Strengths run against the magnitude here: level 256 inverts nothing, and 8 bits leave all levels.
    _step('solarize', 0.0, 256.0, _by_value(tone.solarize)),
    _step('posterize', 4.0, 8.0, _by_value(tone.posterize)),
    Operation('contrast', 0.1, 1.9, _by_value(tone.contrast)),
    Operation('colour', 0.1, 1.9, _by_value(tone.colour)),
    Operation('brightness', 0.1, 1.9, _by_value(tone.brightness)),
    Operation('sharpness', 0.1, 1.9, _by_value(tone.sharpness)),
    _step('cutout', 0.0, 0.2, cutout),
    _geometric('hue', 180.0, tone.hue),
    # A deviation of up to two pixels in an image of 32.
    Operation('blur', 0.0, 2 / 32, _by_value(_blur)),
)
OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in _IN_ORDER}
"""All operations by name. Values are a slope for shears, a share of the image for translations and cutout, degrees
for rotation and hue, a level for solarisation, bits for posterisation, a factor for contrast to sharpness (1 leaves the
image as it is), and for blur a deviation in shares of the image's side."""

DADA: tuple[str, ...] = tuple(OPERATIONS)[:15]
"""Names of DADA's fifteen operations, in DADA's order."""
GENTLE: dict[str, tuple[float, float] | None] = {
    **dict.fromkeys(('shear_x', 'shear_y')),
    'translate_x': (-0.25, 0.25),
    'translate_y': (-0.25, 0.25),
    'rotate': None,
    'contrast': (0.5, 1.5),
    'colour': None,
    'brightness': (0.5, 1.5),
    **dict.fromkeys(('sharpness', 'cutout', 'hue', 'blur')),
}
"""The operations that leave an image readable, with their ranges: none turns tones around or stretches them, and none
makes the image dark. None stands for the usual range."""
_SETS: dict[str, OperationChoice] = {'dada': DADA, 'gentle': GENTLE}
_HIGHEST = {'posterize': 8.0, 'solarize': 256.0, 'cutout': 1.0}
"""The largest value that has a meaning, by operation: all bits, all levels, the whole image."""
_WITHOUT_VALUE = ('auto_contrast', 'invert', 'equalize')


def chosen_operations(choice: OperationChoice) -> tuple[Operation, ...]:
    """Return the operations of a policy, in the order in which a pair of them acts.

    Parameters
    ----------
    choice
        ``'dada'``, ``'gentle'``, names in :data:`OPERATIONS`, or a range of values for each name.

    Raises
    ------
    ValueError
        If a name is unknown or stands twice, if there are fewer than two operations, or if a range has no width, is out
        of bounds, or belongs to an operation without a value.

    Examples
    --------
    >>> [operation.high for operation in chosen_operations({'hue': [-30, 30], 'blur': None})]
    [30.0, 0.0625]
    """
    if isinstance(choice, str):
        if choice not in _SETS:
            raise InvalidArgument(
                'operations', choice, f"use {' or '.join(_SETS)}, or a list of operations", reason='is no set'
            )
        return chosen_operations(_SETS[choice])
    unknown = [name for name in choice if name not in OPERATIONS]
    if unknown:
        raise InvalidArgument('operations', unknown[0], f'hold only {", ".join(OPERATIONS)}')
    if len(set(choice)) != len(choice) or len(choice) < 2:
        raise InvalidArgument('operations', list(choice), 'be at least two different ones to pair')
    # Names alone are ranges that are all the usual ones.
    ranges: Mapping[str, Sequence[float] | None] = choice if isinstance(choice, Mapping) else dict.fromkeys(choice)
    return tuple(_within(OPERATIONS[name], values) for name, values in ranges.items())


def _within(operation: Operation, values: Sequence[float] | None) -> Operation:
    """Return an operation with a range of its own, checked; None keeps the usual range."""
    if values is None:
        return operation
    name, lowest = operation.name, -math.inf if operation.is_signed else 0.0
    if name in _WITHOUT_VALUE:
        raise InvalidArgument(
            'operations', {name: list(values)}, 'give it null', reason=f'does nothing, as {name} has no range'
        )
    # A signed value may lie on both sides of 0: its sign is drawn, so the range need not be symmetric.
    highest = _HIGHEST.get(name, math.inf)
    if len(values) != 2 or not lowest <= values[0] < values[1] <= highest or math.inf in map(abs, values):
        limits = f'low < high{"" if operation.is_signed else ", both at least 0"}'
        limits += f' and at most {highest:g}' if highest < math.inf else ''
        raise InvalidArgument('operations', list(values), f'give as the range of {name} [low, high] with {limits}')
    return _named(name, float(values[0]), float(values[1]))
