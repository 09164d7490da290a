"""What passes through a search step: named tensors, a batch, and the numbers of an optimiser step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

__all__ = ['Parameters', 'Losses', 'Batch', 'SGDStep']

Parameters = dict[str, Tensor]
"""Named tensors, as ``dict(module.named_parameters())`` gives them."""

Losses = dict[str, Tensor]
"""Detached scalars by name, left on their device: reading one would make the processor wait for a GPU."""


class Batch(NamedTuple):
    """One batch of one half of the training set."""

    images: Tensor
    """What the learner sees: normalised, augmented, shape ``(N, 3, H, W)``."""
    labels: Tensor
    """Classes, shape ``(N,)``, dtype int64."""
    indices: Tensor | None = None
    """Position of each example in the training set, shape ``(N,)``, dtype int64; None with a stock evaluator."""
    clean: Tensor | None = None
    """The same images without augmentation, in [-1, 1], shape ``(N, 3, H, W)``.

    With a stock evaluator it is None, or the augmented images in [-1, 1] for an objective with a tester.
    """


@dataclass(frozen=True)
class SGDStep:
    """The numbers of one step of ``torch.optim.SGD`` (no dampening, no Nesterov momentum).

    The fields are named as the arguments of :func:`nni_wcnas.functional.hypergradient.sgd_step`, which takes them as
    ``**vars(step)``.
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    buffers: Parameters = field(default_factory=dict)
    """Momentum buffers by parameter name; empty before the first step."""
