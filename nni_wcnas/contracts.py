"""The design on one page: what the parts of a search may ask of each other.

A search is one member of each of six axes (relaxation, objective, hypergradient, smoothing, selection, schedule) plus,
for the worst-case objectives, a tester and an auxiliary model. Members never import each other: they meet in
``nni_wcnas.module`` through the classes below. A member is abstract (here) or final (its own file); to change one, wrap
it.

Symbols follow the paper: A architecture, W learner weights, G generator, S discriminator, B the tester's
hyper-parameters, V auxiliary model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

__all__ = [
    'Parameters',
    'Losses',
    'Batch',
    'SGDStep',
    'CellScores',
    'Choice',
    'CellGenotype',
    'Stage',
    'ArchitectureUpdate',
    'NamedOptimizer',
    'Weighting',
    'Selection',
    'Schedule',
    'Smoothing',
    'Noise',
    'Tester',
    'Auxiliary',
    'Learner',
    'TrainingPass',
    'Hypergradient',
    'Step',
    'Objective',
]

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
    """The same images without augmentation, in [-1, 1], shape ``(N, 3, H, W)``; None with a stock evaluator."""


@dataclass(frozen=True)
class SGDStep:
    """The numbers of one step of ``torch.optim.SGD`` (no dampening, no Nesterov momentum)."""

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    buffers: Parameters = field(default_factory=dict)
    """Momentum buffer by parameter name; empty before the first step."""


# ----------------------------------------------------------------------------------------------------------------
# reading off a cell


@dataclass(frozen=True)
class CellScores:
    """What a selection sees of one relaxed cell with E edges and K candidate operations."""

    logits: Tensor
    """Raw architecture parameters, shape ``(E, K)`` or ``(E, K + 1)`` when the relaxation carries a hidden 'none' in
    the last column."""
    probabilities: Tensor
    """Mixing weights, same shape as ``logits``, each row on the simplex."""
    operations: tuple[str, ...]
    """Names of the K candidate operations; an explicit ``'none'`` among them is never selected."""
    num_predecessors: int = 2
    num_nodes: int = 4
    num_ops_per_node: int = 2

    def edges_into(self, node: int) -> range:
        """Rows of the edges that enter intermediate ``node`` (0-based), ordered by source state."""
        start = sum(self.num_predecessors + earlier for earlier in range(node))
        return range(start, start + self.num_predecessors + node)


class Choice(NamedTuple):
    """One kept edge of a cell: operation ``operation`` applied to state ``source``."""

    operation: str
    source: int


CellGenotype = tuple[tuple[Choice, ...], ...]
"""The kept edges of each intermediate node, strongest first."""


class Selection(ABC):
    """How a discrete cell is read off the relaxed one. Pure: same scores, same genotype."""

    @abstractmethod
    def select(self, scores: CellScores) -> CellGenotype:
        """Choose ``num_ops_per_node`` edges for each node."""


class Weighting(ABC):
    """How logits become mixing weights: the heart of a relaxation."""

    is_stochastic: bool = False

    @abstractmethod
    def weights(self, alpha: Tensor) -> Tensor:
        """Map logits of shape ``(E, K)`` to mixing weights of shape ``(E, K)``."""


class Smoothing(ABC):
    """What the architecture is while the weights learn. Acts around the weight step only."""

    @abstractmethod
    def applied(self, alphas: Parameters, loss: Callable[[Parameters], Tensor]) -> AbstractContextManager[Any]:
        """Replace the architecture inside the context, and always put it back."""


@dataclass(frozen=True)
class Stage:
    """One supernet to train: for how many epochs, the first ``warmup`` of them without touching A and B."""

    epochs: int | None
    warmup: int = 0


class Schedule(ABC):
    """Which supernets are trained, for how long."""

    @abstractmethod
    def stages(self) -> Iterator[Stage]:
        """Yield the stages in order."""


# ---------------------------------------------------------------------------------------------------------- tester and
# auxiliary model


class Noise(NamedTuple):
    """What a generator is fed: kept and passed again, it gives the same images."""

    latent: Tensor
    """Shape ``(N, latent)``, standard normal."""
    labels: Tensor
    """Uniform classes, shape ``(N,)``, dtype int64."""


class Tester(nn.Module, ABC):
    """A generator of labelled images whose hyper-parameters B are learned to make the learner fail."""

    num_classes: int
    image_size: int

    @abstractmethod
    def noise(self, count: int) -> Noise:
        """Draw noise and uniform labels on the tester's device, from torch's global random state."""

    @abstractmethod
    def generate(self, noise: Noise, generator: Parameters | None = None) -> Tensor:
        """f(G): images in [-1, 1] of shape ``(N, 3, image_size, image_size)``, differentiable in ``generator``
        (default: the live one)."""

    @abstractmethod
    def generator_parameters(self) -> Parameters:
        """G: the live parameters of the generator."""

    @abstractmethod
    def hyperparameters(self) -> Parameters:
        """B: the live, unconstrained hyper-parameters."""

    @abstractmethod
    def generation_loss(
        self,
        noise: Noise,
        generator: Parameters | None = None,
        hyperparameters: Parameters | None = None,
        statistics: Any = None,
    ) -> tuple[Tensor, Any]:
        """L_dg(G, B), differentiable in both; never changes the tester.

        ``statistics`` are the batch statistics that the loss holds fixed; pass those that an earlier call returned to
        evaluate the *same* function at perturbed parameters.
        """

    @abstractmethod
    def adversary_step(self, batch: Batch, *, update_generator: bool) -> Losses:
        """Train the discriminator on one batch of real images and, if told so, the generator; return the losses by
        name."""

    @abstractmethod
    def optimizers(self, epochs: int) -> list[NamedOptimizer]:
        """Build the optimisers of G and S (not of B); remembers them for :meth:`adversary_step`."""

    @abstractmethod
    def generator_step(self) -> SGDStep:
        """The numbers of the generator's next optimiser step."""

    @abstractmethod
    def values(self) -> dict[str, float]:
        """B in its physical units, by name, for logs."""


class Auxiliary(nn.Module, ABC):
    """The classifier V that judges whether generated images are meaningful. Its images are in [-1, 1]."""

    @abstractmethod
    def learnable(self) -> Parameters:
        """V: the live parameters that this model trains (not those it shares with the tester)."""

    @abstractmethod
    def loss(self, images: Tensor, labels: Tensor, parameters: Parameters | None = None) -> Tensor:
        """Cross-entropy, differentiable in ``images`` and ``parameters``; never changes the model."""

    @abstractmethod
    def train_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One optimiser step on detached images; returns the loss, detached."""

    @abstractmethod
    def optimizers(self, epochs: int) -> list[NamedOptimizer]:
        """Build V's optimiser; remembers it for :meth:`train_step`."""

    @abstractmethod
    def sgd_step(self) -> SGDStep:
        """The numbers of V's next optimiser step."""


class NamedOptimizer(NamedTuple):
    """An optimiser of the adversary group, with its per-epoch learning-rate schedule."""

    name: str
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None


# ------------------------------------------------------------------------------------------------------------------ one
# search iteration


class Learner(ABC):
    """The supernet as a pure function of its weights W and architecture A."""

    @property
    @abstractmethod
    def weights(self) -> Parameters:
        """W, live."""

    @property
    @abstractmethod
    def alphas(self) -> Parameters:
        """A, live."""

    @abstractmethod
    def loss(
        self,
        images: Tensor,
        labels: Tensor,
        weights: Parameters | None = None,
        alphas: Parameters | None = None,
        *,
        moves_statistics: bool = False,
    ) -> Tensor:
        """L_tgt: mean loss; the supernet's running statistics stay untouched unless told otherwise."""

    @abstractmethod
    def loss_and_features(
        self, images: Tensor, labels: Tensor, weights: Parameters | None = None, alphas: Parameters | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same, with the penultimate features of shape ``(N, F)``."""

    @abstractmethod
    def renormalise(self, images: Tensor) -> Tensor:
        """From the tester's [-1, 1] to the statistics of the learner's input."""

    @abstractmethod
    def sgd_step(self) -> SGDStep:
        """The numbers of the weight optimiser's next step. Raises ValueError when it is not plain SGD."""


class TrainingPass(NamedTuple):
    """One forward and backward pass on the training batch, at W."""

    gradients: Parameters
    """dL_tr / dW by name."""
    loss: Tensor
    """Detached."""


class Hypergradient(ABC):
    """How the inner problem of the learner enters dA."""

    unrolls: bool

    @abstractmethod
    def ahead(self, step: Step, *, reuse: bool = False) -> tuple[Parameters, TrainingPass | None]:
        """W' and, where there was one, the training pass behind it.

        With ``reuse`` that pass stands for the weight step's own: running statistics move in it.
        """

    @abstractmethod
    def indirect(self, step: Step, vector: Parameters) -> Parameters:
        """-lr_w (d2 L_tr / dA dW) . vector, by name of A."""

    @abstractmethod
    def product(
        self, gradient: Callable[[Parameters, bool], Parameters], parameters: Parameters, vector: Parameters
    ) -> Parameters:
        """The implicit product with this member's method, for the tester's chain."""


@dataclass
class Step:
    """What one search iteration shows to its objective."""

    train: Batch
    val: Batch
    learner: Learner
    hypergradient: Hypergradient
    evaluator_loss: Callable[[Batch], Tensor]
    """The evaluator's own training step on a batch: what NNI's DARTS minimises."""
    tester: Tester | None = None
    auxiliary: Auxiliary | None = None


class ArchitectureUpdate(NamedTuple):
    """Gradients of one architecture update, and the losses to log."""

    alphas: Parameters
    """dA, to descend."""
    losses: Losses
    hyperparameters: Parameters = {}
    """dB, to ascend."""
    weight_gradient: Parameters | None = None
    """The training gradient at W, if this batch's weight step shall reuse it."""


class Objective(ABC):
    """What the architecture minimises."""

    reuse_gradient: bool = False
    """Whether the weight step of an architecture batch takes the lookahead's gradient."""
    every: int
    """A (and B, and the generator) are updated on every ``every``-th batch."""
    needs_tester: bool = False
    hyperparameter_lr: float = 0.0
    """Learning rate of Adam on B, for objectives with a tester."""

    @abstractmethod
    def architecture_step(self, step: Step) -> ArchitectureUpdate:
        """Compute the gradients of A and B. Changes nothing."""

    def weight_loss(self, step: Step) -> Tensor:
        """What the weights minimise."""
        return step.evaluator_loss(step.train)

    def adversary_step(self, step: Step, *, update_generator: bool) -> Losses:
        """Let the adversary learn from this batch; return its losses by name."""
        del step, update_generator  # Unused: without an adversary there is nothing to train.
        return {}
