"""The fifteen operations of DADA's augmentation policies, in its order, with its ranges of magnitudes.

A magnitude m in [0, 1] means the value low + m (high - low); the value of a geometric operation has a random sign.
Where an operation has no derivative by its magnitude, that of every pixel is taken to be 1 (straight-through), as DADA
does for all of them.

References
----------
Li et al., "DADA: Differentiable Automatic Data Augmentation", ECCV 2020, section 3 and its table of operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from nni_wcnas.functional import affine, tone
from nni_wcnas.functional.cutout import cutout

__all__ = ['OPERATIONS', 'Operation']


@dataclass(frozen=True)
class Operation:
    """One way to change images, whose pixels are in [0, 1]."""

    name: str
    low: float
    high: float
    change: Callable[[Tensor, Tensor, Tensor], Tensor]
    """Of images ``(N, 3, H, W)``, values ``(N,)`` and places ``(N, 2)`` in [0, 1]."""
    is_signed: bool = False
    """Whether the value has a random sign."""
    has_gradient: bool = True
    """By the value."""

    def __call__(self, images: Tensor, magnitude: Tensor, sign: Tensor, place: Tensor) -> Tensor:
        """Change images.

        Parameters
        ----------
        images
            Pixels in [0, 1], shape ``(N, 3, H, W)``.
        magnitude
            m, in [0, 1], shape ``(N,)``.
        sign
            -1 or 1, shape ``(N,)``.
        place
            Row and column in image sides, in [0, 1], shape ``(N, 2)``.
        """
        value = self.low + magnitude * (self.high - self.low)
        value = value * sign if self.is_signed else value
        if self.has_gradient:
            return self.change(images, value, place)
        return self.change(images, value.detach(), place) + (magnitude - magnitude.detach()).view(-1, 1, 1, 1)


def _by_value(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda images, value, place: change(images, value)


def _alone(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda images, value, place: change(images)


def _geometric(name: str, limit: float, change: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    return Operation(name, -limit, limit, _by_value(change), is_signed=True)


def _step(name: str, low: float, high: float, change: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Operation:
    return Operation(name, low, high, change, has_gradient=False)


OPERATIONS: tuple[Operation, ...] = (
    _geometric('shear_x', 0.3, affine.shear_x),
    _geometric('shear_y', 0.3, affine.shear_y),
    _geometric('translate_x', 0.45, affine.translate_x),
    _geometric('translate_y', 0.45, affine.translate_y),
    _geometric('rotate', 30.0, affine.rotate),
    _step('auto_contrast', 0.0, 1.0, _alone(tone.auto_contrast)),
    _step('invert', 0.0, 1.0, _alone(tone.invert)),
    _step('equalize', 0.0, 1.0, _alone(tone.equalize)),
    _step('solarize', 0.0, 256.0, _by_value(tone.solarize)),
    _step('posterize', 4.0, 8.0, _by_value(tone.posterize)),
    Operation('contrast', 0.1, 1.9, _by_value(tone.contrast)),
    Operation('colour', 0.1, 1.9, _by_value(tone.colour)),
    Operation('brightness', 0.1, 1.9, _by_value(tone.brightness)),
    Operation('sharpness', 0.1, 1.9, _by_value(tone.sharpness)),
    _step('cutout', 0.0, 0.2, cutout),
)
"""Shear by a slope, translation by a share of the image, rotation by degrees, solarisation by a level, posterisation by
bits, contrast to sharpness by a factor (1 leaves the image as it is), cutout by a share of the image."""
