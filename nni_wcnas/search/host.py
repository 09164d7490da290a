"""What the parts of a search may use of its Lightning module, so that none of them has to know the module itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from nni_wcnas.contracts import Batch, Hypergradient, Objective, Parameters, Schedule, Smoothing, Supernet, Weighting
from nni_wcnas.search.adversary import Adversary
from nni_wcnas.search.parameter_groups import ParameterGroups
from nni_wcnas.search.staging import Stages
from nni_wcnas.supernet import Clock
from nni_wcnas.supernet.choices import RelaxedChoice

__all__ = ['Host']


class Host(Protocol):
    """The search's Lightning module, as its training step, view, change of stage and resume see it."""

    relaxation: Weighting
    objective: Objective
    hypergradient: Hypergradient
    smoothing: Smoothing
    schedule: Schedule
    stages: Stages
    clock: Clock
    build_supernet: Callable[[int | None, int | None], nn.Module]
    """Makes another supernet of a number of cells and a share of the channels."""
    adversary: Adversary | None
    """Tester and auxiliary model for an evaluator that has none."""
    view: Supernet
    last_validation_batch: Batch | None
    memory: Parameters
    """Tensors of the objective, saved in checkpoints."""
    stopped_with: dict[str, Any] | None
    """The sample with which a schedule has ended the search; None while it goes on."""
    arc_gradient_clip_val: float | None
    gradient_clip_val: Any
    hyperparameter_optimizer: torch.optim.Optimizer | None

    @property
    def training_module(self) -> Any:
        """The evaluator's module."""

    @property
    def trainer(self) -> Any:
        """Lightning's trainer."""

    @property
    def model(self) -> Any:
        """The supernet."""

    @property
    def device(self) -> torch.device:
        """Where the search computes."""

    @property
    def groups(self) -> ParameterGroups:
        """A and W of the supernet."""

    @property
    def adversary_home(self) -> Any:
        """The module whose ``tester`` and ``auxiliary`` are the search's."""

    def choices(self) -> dict[str, RelaxedChoice]:
        """Return the relaxed types of cells and single choices by label."""

    def set_model(self, model: nn.Module) -> None:
        """Search in another supernet from here on."""

    def begin_annealing(self, index: int) -> None:
        """Tell the evaluator how the weights' learning rate falls from a stage on."""

    def weight_optimizer(self) -> Any:
        """Return the optimiser of W."""

    def architecture_optimizers(self) -> Any:
        """Return the optimiser of A."""

    def resample(self) -> Any:
        """Draw a new seed for a stochastic relaxation."""

    def advance_optimization(self, loss: Any, batch_idx: int, gradient_clip_val: Any = None) -> None:
        """Take a step of W down a loss."""

    def export(self) -> Any:
        """Return what the search would return now."""

    def log(self, name: str, value: Any, **kwargs: Any) -> None:
        """Log a number."""
