"""Sub-policies: two different operations, applied to images one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nni_wcnas.functional.augmentation_operations import Operation
from nni_wcnas.functional.by_kind import by_kind

__all__ = ['Slot', 'operate']


class Slot(NamedTuple):
    """The arguments of the first, or of the second, operation of each image's sub-policy; a row for each image."""

    is_on: Tensor
    """Whether the operation acts, shape ``(N,)``."""
    gate: Tensor
    """Zeros that have the derivative of the relaxed switch, shape ``(N,)``."""
    magnitude: Tensor
    """Magnitudes of the operations in [0, 1], shape ``(N,)``."""
    sign: Tensor
    """Signs of the values, -1 or 1, shape ``(N,)``."""
    place: Tensor
    """Row and column of cutout in image sides, in [0, 1], shape ``(N, 2)``."""


def operate(images: Tensor, operations: Sequence[Operation], chosen: Sequence[int], slot: Slot) -> Tensor:
    """Let one operation act on each image.

    An operation that is switched off is computed too: what it would have changed is the gradient of its switch.

    Parameters
    ----------
    images
        Pixels in [0, 1], shape ``(N, 3, H, W)``.
    operations
        The operations of the policy.
    chosen
        The operation of each image, as a position in ``operations``.
    slot
        The other arguments of the operations.

    Returns
    -------
    The changed images where the operation is on, else the old ones, plus gate times their difference; shape
    ``(N, 3, H, W)``.
    """
    told = slot.magnitude, slot.sign, slot.place
    changed = by_kind(chosen, lambda k, *part: operations[k](*part), images, *told)
    on, gate = (part.view(-1, 1, 1, 1) for part in (slot.is_on, slot.gate))
    # b changed + (1 - b) images for a switch b has the derivative changed - images by b. The gate is 0, so that the
    # value stays, and brings in the derivative of the relaxed b.
    return torch.where(on, changed, images) + gate * (changed - images)
