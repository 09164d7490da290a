"""The axis objective: what the architecture minimises, and which parts of the tester learn for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from nni_wcnas.contracts.batch import Losses, Parameters
from nni_wcnas.contracts.hypergradient import Step

__all__ = ['HyperparameterUpdate', 'ArchitectureUpdate', 'Objective']


class HyperparameterUpdate(NamedTuple):
    """The gradient of one update of B, and the losses to log."""

    hyperparameters: Parameters
    """dB, to ascend."""
    losses: Losses


class ArchitectureUpdate(NamedTuple):
    """Gradients of one architecture update, and the losses to log."""

    alphas: Parameters
    """dA, to descend."""
    losses: Losses
    ascent: Callable[[], HyperparameterUpdate] | None = None
    """Makes dB, where B learns; to be called once, after A has moved."""
    weight_gradient: Parameters | None = None
    """The training gradient at W, which this batch's weight step shall reuse; None where it computes its own."""


class Objective(ABC):
    """What the architecture minimises, and which parts of the tester learn for it."""

    reuse_gradient: bool = False
    """Whether the weight step of an architecture batch takes the lookahead's gradient."""
    every: int
    """A (and B, and the generator) are updated on every ``every``-th batch."""
    needs_tester: bool = False
    """Whether the objective learns from a tester's images."""
    needs_generator: bool = False
    """Whether the tester must be a :class:`GenerativeTester`; an augmentation policy stands in for any other."""
    trains_generator: bool = True
    """Whether a generator goes on learning in the search."""
    rests_in_warmup: bool = False
    """Whether nothing but the weights learns in the warm-up."""
    needs_unrolling: bool = False
    """Whether the hypergradient must unroll the weights."""
    needs_auxiliary: bool = False
    """Whether an auxiliary model learns from the tester's images."""
    hyperparameter_lr: float = 0.0
    """Learning rate of Adam on B, for objectives that learn it."""

    @abstractmethod
    def architecture_step(self, step: Step) -> ArchitectureUpdate:
        """Return the gradient of A, and what computes that of B. Changes nothing but the step's memory."""

    def weight_loss(self, step: Step) -> Tensor:
        """Return what the weights minimise: by default the evaluator's loss on the training batch."""
        return step.evaluator_loss(step.train)

    def adversary_step(self, step: Step, *, update_generator: bool) -> Losses:
        """Let the adversary learn from this batch; return its losses by name."""
        del step, update_generator  # Unused: without an adversary there is nothing to train.
        return {}
