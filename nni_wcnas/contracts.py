"""The design on one page: what the parts of a search may ask of each other.

A search is one member of each of six axes (relaxation, objective, hypergradient, smoothing, selection, schedule) plus,
for the worst-case objectives, a tester and an auxiliary model. Members never import each other: they meet in
``nni_wcnas.search.module`` through the classes below. A member is abstract (here) or final (its own file); to change
one, wrap it.

Symbols follow the paper: A architecture, W learner weights, G generator, S discriminator, B the tester's
hyper-parameters, V auxiliary model.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nni_wcnas.functional.hypergradient import InnerGradient, Loss

__all__ = [
    'Parameters',
    'Losses',
    'Batch',
    'SGDStep',
    'Moment',
    'Edge',
    'CellLayout',
    'CellScores',
    'Choice',
    'CellGenotype',
    'Stage',
    'Supernet',
    'ArchitectureUpdate',
    'HyperparameterUpdate',
    'NamedOptimizer',
    'Weighting',
    'Transform',
    'Selection',
    'Schedule',
    'Smoothing',
    'Noise',
    'Tester',
    'GenerativeTester',
    'Auxiliary',
    'Learner',
    'TrainingPass',
    'Lookahead',
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
    """The same images without augmentation, in [-1, 1], shape ``(N, 3, H, W)``; with a stock evaluator None, or to an
    objective with a tester the augmented ones in [-1, 1]."""


@dataclass(frozen=True)
class SGDStep:
    """The numbers of one step of ``torch.optim.SGD`` (no dampening, no Nesterov momentum)."""

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    buffers: Parameters = field(default_factory=dict)
    """Momentum buffer by parameter name; empty before the first step."""


# ----------------------------------------------------------------------------------------------------------------
# where in the search a pass stands


class Moment(NamedTuple):
    """When a forward pass happens, and which random numbers it draws.

    All passes of one moment draw the same numbers: perturbed evaluations differ by the perturbation alone.
    """

    epoch: int = 0
    """Of the stage, from 0."""
    epochs: int = 1
    """Of the stage."""
    warmup: int = 0
    """Epochs at the start of the stage that leave the architecture alone."""
    stage: int = 0
    seed: int = 0
    """Changes with every resampling of a stochastic relaxation."""
    run: tuple[int, int] | None = None
    """Epoch and number of epochs since the weights began, over all stages that go on with them; None: of the stage."""

    @property
    def age(self) -> int:
        """Epochs since the weights began."""
        return self.epoch if self.run is None else self.run[0]

    @property
    def span(self) -> int:
        """Epochs for which the weights are searched with, in all."""
        return self.epochs if self.run is None else self.run[1]

    @property
    def progress(self) -> float:
        """Share of :attr:`span` that is over, in [0, 1]; 1 in its last epoch."""
        return self.age / (self.span - 1) if self.span > 1 else 0.0

    def of(self, label: str) -> Moment:
        """The same moment with random numbers of its own, as each type of cell has."""
        return self._replace(seed=(self.seed + zlib.crc32(label.encode()) * 0x9E3779B97F4A7C15) % 2**63)

    def generator(self, device: torch.device) -> torch.Generator:
        """The random numbers of this moment."""
        return torch.Generator(device).manual_seed(self.seed)


# ----------------------------------------------------------------------------------------------------------------
# relaxing a cell


class Edge(NamedTuple):
    """An edge of a cell, between two of its states; the predecessors come first."""

    source: int
    target: int


@dataclass(frozen=True)
class CellLayout:
    """The graph of one type of cell: E edges with K candidate operations each."""

    operations: tuple[str, ...]
    """Names of the K candidate operations; an explicit ``'none'`` among them is never selected."""
    num_predecessors: int = 2
    num_nodes: int = 4
    num_ops_per_node: int = 2
    label: str = 'normal'
    is_reduction: bool = False
    keeps_all_edges: bool = False
    """Every edge stays, with one operation (NAS-Bench-201), ``'none'`` included."""

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Rows of the architecture matrix, ordered by node and source state."""
        first = self.num_predecessors
        return tuple(
            Edge(source, target) for target in range(first, first + self.num_nodes) for source in range(target)
        )

    def edges_into(self, node: int) -> range:
        """Rows of the edges that enter intermediate ``node`` (0-based), ordered by source state."""
        start = sum(self.num_predecessors + earlier for earlier in range(node))
        return range(start, start + self.num_predecessors + node)


@dataclass(frozen=True)
class CellScores:
    """What a selection sees of one relaxed cell."""

    logits: Tensor
    """Raw architecture parameters, shape ``(E, K)`` or ``(E, K + 1)`` when the relaxation carries a hidden 'none' in
    the last column; minus infinity for a candidate that was pruned."""
    probabilities: Tensor
    """What the relaxation says of each candidate, same shape as ``logits``; 0 for a candidate that was pruned."""
    layout: CellLayout


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
        """Choose ``num_ops_per_node`` edges for each node, or one operation for each edge where all edges are kept."""


class Weighting(ABC):
    """How logits become mixing weights: the heart of a relaxation.

    A logit of minus infinity marks a candidate that was pruned: its weight is 0, and its gradient 0.
    """

    is_stochastic: bool = False
    """Whether it draws random numbers: a new moment is then made for each architecture and each weight step."""
    on_simplex: bool = True
    """Whether each row of weights is a distribution, so that a smoothing can perturb it."""
    is_twice_differentiable: bool = True
    """Whether Hessians in the logits can be taken. A product with weights, as in ``Unrolled``, differentiates once."""
    is_penalised: bool = False
    """Whether :meth:`penalty` is part of the architecture's loss."""
    is_sparse: bool = False
    """Whether weights of exactly zero, which have no gradient, are many: these operations are not computed then."""
    needs_cells: bool = False
    """Whether it works on cells alone, not on single layer choices."""

    @abstractmethod
    def weights(self, alpha: Tensor, moment: Moment) -> Tensor:
        """Map logits of shape ``(E, K)`` to mixing weights of shape ``(E, K)``."""

    def strengths(self, alpha: Tensor, moment: Moment) -> Tensor:
        """What a selection sees, shape ``(E, K)``: the weights, without randomness."""
        return self.weights(alpha, moment)

    def penalty(self, alpha: Tensor, layout: CellLayout, moment: Moment) -> Tensor:
        """What the architecture pays beside its loss for one type of cell, a scalar."""
        del layout, moment  # Unused: there is no penalty.
        return alpha.new_zeros(())


class Transform:
    """What is done to the edges of a cell beside mixing their candidates. Transforms stack."""

    share: int = 1
    """Operations see the first of so many equal parts of the channels; the others bypass them."""
    normalises_edges: bool = False
    """Whether each edge has an architecture parameter of its own, whose softmax over a node's edges weights them."""
    extra: str | None = None
    """Name of an operation that is added to every edge, outside the mixture."""
    is_random: bool = False
    """Whether passes draw random numbers from torch's global state."""

    def extra_weight(self, moment: Moment) -> float:
        """Weight of the extra operation."""
        del moment  # Unused: there is none.
        return 0.0

    def wrap(self, operation: str, module: nn.Module) -> nn.Module:
        """Replace a candidate operation of an edge."""
        del operation  # Unused: operations stay as they are.
        return module

    def update(self, module: nn.Module, moment: Moment) -> None:
        """Tell a module that :meth:`wrap` has made which moment it is."""
        del module, moment  # Unused: nothing changes with time.


class Smoothing(ABC):
    """What the architecture is while the weights learn. Acts in the weight step only."""

    perturbs: bool = True
    """False for the one that does nothing."""

    @abstractmethod
    def perturbed(
        self, weights: Parameters, loss: Callable[[Parameters], Tensor], moment: Moment
    ) -> Parameters | None:
        """Mixing weights for the weight step.

        Parameters
        ----------
        weights
            Detached mixing weights of shape ``(E, K)`` by label, each row on the simplex. Entries that are exactly
            zero were pruned, and stay zero.
        loss
            Training loss of this batch under other mixing weights, differentiable in them; changes no statistics.
        moment
            When.

        Returns
        -------
        Weights of the same shapes; None leaves the architecture alone.
        """


# ----------------------------------------------------------------------------------------------------------------
# stages


@dataclass(frozen=True)
class Stage:
    """One supernet to train."""

    epochs: int | None
    """None takes what the evaluator has left."""
    warmup: int = 0
    """The first epochs train neither A nor B, nor an adversary that :attr:`Objective.rests_in_warmup`."""
    num_cells: int | None = None
    """Depth of the supernet; None leaves it as it is."""
    share: int | None = None
    """:attr:`Transform.share` of this stage; None leaves it as it is. Operations are widened, keeping their weights."""
    is_fresh: bool = False
    """Weights, architecture and their optimisers start anew; else they go on."""
    learning_rate_factor: float = 1.0
    """Of the weights' learning rate; other than 1, its annealing starts anew with the stage."""


class Supernet(ABC):
    """What a schedule sees of the supernet, and may do to it, between two epochs."""

    memory: dict[str, Any]
    """Plain values that the schedule keeps from epoch to epoch; saved in checkpoints."""

    @abstractmethod
    def scores(self) -> dict[str, CellScores]:
        """What a selection sees, by label of the cell."""

    @abstractmethod
    def select(self, label: str) -> CellGenotype:
        """What the selection would choose now for one cell."""

    @abstractmethod
    def export(self) -> dict[str, Any]:
        """What the search would return now: NNI's sample."""

    @abstractmethod
    def prune(self, label: str, candidates: Iterable[tuple[int, int]]) -> None:
        """Take candidates out for good: pairs of a row (edge) and a column (operation) of the architecture matrix."""

    @abstractmethod
    def drop(self, label: str, edges: Iterable[int]) -> None:
        """Take whole edges out for good."""

    @abstractmethod
    def validate(self, label: str, without: Iterable[tuple[int, int]]) -> tuple[float, float]:
        """Mean loss and accuracy on the architecture's half while candidates of one cell have no weight.

        The weights of the others stay as they are. Statistics are those of each batch, and none is moved.
        """

    @abstractmethod
    def largest_eigenvalue(self) -> float:
        """Of the Hessian of the validation loss by the architecture, on the last validation batch."""

    @abstractmethod
    def draw(self, count: int) -> int:
        """A random number below ``count``, from the search's random state."""


class Schedule(ABC):
    """Which supernets are trained, for how long."""

    needs_cells: bool = False
    """Whether it acts on cells, which not every space has."""
    needs_second_derivatives: bool = False
    """Whether it asks for Hessians."""
    judges_candidates: bool = False
    """Whether it compares candidates by what the supernet loses without them (:meth:`Supernet.validate`)."""

    @abstractmethod
    def stages(self, cells: Sequence[CellLayout]) -> Sequence[Stage]:
        """The stages in order, for a space of these types of cells."""

    def pruned(self, stage: int, scores: CellScores) -> set[tuple[int, int]]:
        """Candidates (row, column) of one cell to take out before the given stage, from the scores at the end of the
        stage before."""
        del stage, scores  # Unused: all stay.
        return set()

    def begin_epoch(self, supernet: Supernet, moment: Moment) -> None:
        """Act before an epoch."""
        del supernet, moment  # Unused: nothing happens.

    def end_epoch(self, supernet: Supernet, moment: Moment) -> dict[str, Any] | None:
        """Act after an epoch; a sample (:meth:`Supernet.export`) ends the search, which returns it."""
        del supernet, moment  # Unused: the search goes on.
        return None


# ----------------------------------------------------------------------------------------------------------------
# tester and auxiliary model


class Noise(NamedTuple):
    """What images are made from: kept and passed again, it gives the same ones."""

    latent: Any
    """Of a generator: a tensor of shape ``(N, D)``, standard normal: the latent, and behind it the noise of a generator
    that has more. Of a tester that changes real images: these, and the random draws."""
    labels: Tensor
    """Classes, shape ``(N,)``, dtype int64."""


class Tester(nn.Module, ABC):
    """Makes labelled images that depend on hyper-parameters B, which are learned to make the learner fail.

    Here images depend on B itself, as those of an augmentation policy do; see :class:`GenerativeTester` for a generator
    that learns under B.
    """

    num_classes: int
    image_size: int
    pretrained: str | Path | None = None
    """File of pre-training that it was made with; an auxiliary model takes its state from there."""
    has_hyperparameters: bool = True
    """False where there is no B: nothing ascends then, and no auxiliary model, whose judgement is B's alone, learns."""
    changes_validation: bool = False
    """Whether the real images that it changes are those of the validation batch, not of the training batch."""

    @abstractmethod
    def noise(self, count: int, source: Batch | None = None) -> Noise:
        """Draw what ``count`` images are made from, on the tester's device, from torch's global random state.

        ``source`` are real images; a tester that changes real images draws from them, a generator needs none.
        """

    @abstractmethod
    def generate(self, noise: Noise, generator: Parameters | None = None) -> Tensor:
        """f(G) or f(B): images in [-1, 1] of shape ``(N, 3, image_size, image_size)``, differentiable in ``generator``
        (default: the live :meth:`generator_parameters`); changes nothing."""

    def attack(self, images: Tensor, noise: Noise, logits: Callable[[Tensor], Tensor]) -> Tensor:
        """What the architecture sees of images that :meth:`generate` made of ``noise``; draws nothing.

        ``logits`` are the learner's, one step ahead, of images in [-1, 1]; they are not differentiable in W' and A.
        """
        del noise, logits  # Unused: images are hard by B, not by the learner at hand.
        return images

    @abstractmethod
    def hyperparameters(self) -> Parameters:
        """B: the live, unconstrained hyper-parameters; none where :attr:`has_hyperparameters` says so."""

    @abstractmethod
    def values(self) -> dict[str, float]:
        """B in its physical units, or what sums it up, by name, for logs."""

    def generator_parameters(self) -> Parameters:
        """What images are differentiable in: B, or a generator's parameters G, live."""
        return self.hyperparameters()

    @property
    def waits_for_b(self) -> bool:
        """Whether the generator rests while B does, as in a warm-up: it would learn to fool a B that stands still."""
        return False

    def adversary_step(self, batch: Batch, *, update_generator: bool) -> Losses:
        """Let what is not B learn from one batch of real images; return the losses by name."""
        del batch, update_generator  # Unused: there is nothing but B.
        return {}

    def optimizers(self, epochs: int, *, learns_b: bool = True) -> list[NamedOptimizer]:
        """Build the optimisers of :meth:`adversary_step` (not of B, if the search learns it), and remember them."""
        del epochs, learns_b  # Unused: there is nothing but B.
        return []


class GenerativeTester(Tester):
    """A class-conditional generator G of labelled images, which learns under B beside a discriminator S."""

    @abstractmethod
    def generator_parameters(self) -> Parameters:
        """G: the live parameters of the generator."""

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
    def optimizers(self, epochs: int, *, learns_b: bool = True) -> list[NamedOptimizer]:
        """Build the optimisers of G and S (not of B, if the search learns it), and remember them for
        :meth:`adversary_step`."""

    @abstractmethod
    def generator_step(self) -> SGDStep:
        """The numbers of the generator's next optimiser step."""


class Auxiliary(nn.Module, ABC):
    """The classifier V that judges whether generated images are meaningful.

    Called with images in [-1, 1] of shape ``(N, 3, H, W)`` it returns logits of shape ``(N, classes)``.
    """

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
    def logits(self, images: Tensor, weights: Parameters | None = None, alphas: Parameters | None = None) -> Tensor:
        """Scores of shape ``(N, classes)``, likewise."""

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


class Lookahead(NamedTuple):
    """The learner one step ahead."""

    weights: Parameters
    """W', leaves."""
    indirect: Callable[[Parameters], Parameters]
    """``dL/dW' -> -lr_w (d2 L_tr / dA dW) . dL/dW'``, by name of A: what leads to A through W'. To be called once."""
    training: TrainingPass | None
    """The pass behind W', where there was one."""


class Hypergradient(ABC):
    """How the inner problem of the learner enters dA."""

    unrolls: bool

    @abstractmethod
    def ahead(self, step: Step, *, reuse: bool = False) -> Lookahead:
        """W', and the way back from it.

        With ``reuse`` its training pass stands for the weight step's own: running statistics move in it.
        """

    @abstractmethod
    def inner(self, loss: Loss, parameters: Parameters, targets: Parameters) -> InnerGradient:
        """The gradient of another inner problem, of the tester's chain, and its product by this member's method."""

    @abstractmethod
    def product(self, loss: Loss, parameters: Parameters, targets: Parameters, vector: Parameters) -> Parameters:
        """The implicit product alone."""


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
    moment: Moment = Moment()
    memory: Parameters = field(default_factory=dict)
    """Tensors that the objective keeps from step to step; saved in checkpoints."""
    index: int = 0
    """Of the batch in its epoch, from 0."""
    gradient_clip_val: float | None = None
    """Largest norm of the gradient of a weight step; None for no clip."""


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
    """Makes dB, where B learns: to be called once, after A has moved."""
    weight_gradient: Parameters | None = None
    """The training gradient at W, if this batch's weight step shall reuse it."""


class Objective(ABC):
    """What the architecture minimises."""

    reuse_gradient: bool = False
    """Whether the weight step of an architecture batch takes the lookahead's gradient."""
    every: int
    """A (and B, and the generator) are updated on every ``every``-th batch."""
    needs_tester: bool = False
    needs_generator: bool = False
    """Whether the tester must be a :class:`GenerativeTester`; an augmentation policy stands in for any other."""
    trains_generator: bool = True
    """Whether a generator goes on learning in the search."""
    rests_in_warmup: bool = False
    """Whether nothing but the weights learns in the warm-up."""
    needs_unrolling: bool = False
    """Whether the hypergradient must unroll."""
    needs_auxiliary: bool = False
    """Whether an auxiliary model learns from the tester's images."""
    hyperparameter_lr: float = 0.0
    """Learning rate of Adam on B, for objectives that learn it."""

    @abstractmethod
    def architecture_step(self, step: Step) -> ArchitectureUpdate:
        """Compute the gradient of A, and how to compute that of B. Changes nothing."""

    def weight_loss(self, step: Step) -> Tensor:
        """What the weights minimise."""
        return step.evaluator_loss(step.train)

    def adversary_step(self, step: Step, *, update_generator: bool) -> Losses:
        """Let the adversary learn from this batch; return its losses by name."""
        del step, update_generator  # Unused: without an adversary there is nothing to train.
        return {}
