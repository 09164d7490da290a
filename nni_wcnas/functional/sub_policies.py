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
    """What one of the two operations of each image's sub-policy is told; tensors with a row for each image."""

    is_on: Tensor
    """Whether it acts, shape ``(N,)``."""
    gate: Tensor
    """Zeros with the derivative of the relaxed switch, shape ``(N,)``."""
    magnitude: Tensor
    """In [0, 1], shape ``(N,)``."""
    sign: Tensor
    """-1 or 1, shape ``(N,)``."""
    place: Tensor
    """In [0, 1], shape ``(N, 2)``."""


def operate(images: Tensor, operations: Sequence[Operation], chosen: Sequence[int], slot: Slot) -> Tensor:
    """Let one operation act on each image.

    Where it does not act it is computed too: what it would have done is the gradient of its switch.

    Parameters
    ----------
    images
        Pixels in [0, 1], shape ``(N, 3, H, W)``.
    operations
        Those of the policy.
    chosen
        Position among them for each image.
    slot
        The rest.

    Returns
    -------
    The operation's images or the old ones, plus gate x their difference; shape ``(N, 3, H, W)``.
    """
    told = slot.magnitude, slot.sign, slot.place
    changed = by_kind(chosen, lambda k, *part: operations[k](*part), images, *told)
    on, gate = (part.view(-1, 1, 1, 1) for part in (slot.is_on, slot.gate))
    return torch.where(on, changed, images) + gate * (changed - images)
