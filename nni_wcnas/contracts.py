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


# ----------------------------------------------------------------------------------------------------------------
# where in the search a pass stands


class Moment(NamedTuple):
    """When a forward pass happens, and which random numbers it draws.

    All passes of one moment draw the same numbers: perturbed evaluations differ by the perturbation alone.
    """

    epoch: int = 0
    """Epoch of the stage, from 0."""
    epochs: int = 1
    """Number of epochs of the stage."""
    warmup: int = 0
    """Epochs at the start of the stage that leave the architecture alone."""
    stage: int = 0
    seed: int = 0
    """Seed of the random numbers; a stochastic relaxation changes it with every resampling."""
    run: tuple[int, int] | None = None
    """Epoch and number of epochs since the weights began, over all stages that go on with them; None stands for the
    stage's."""

    @property
    def age(self) -> int:
        """Epochs since the weights began."""
        return self.epoch if self.run is None else self.run[0]

    @property
    def span(self) -> int:
        """Number of epochs for which the weights are searched with, in all."""
        return self.epochs if self.run is None else self.run[1]

    @property
    def progress(self) -> float:
        """Share of :attr:`span` that is over, in [0, 1]: 0 in its first epoch, 1 in its last if there are several."""
        return self.age / (self.span - 1) if self.span > 1 else 0.0

    def of(self, label: str) -> Moment:
        """Return the same moment with random numbers of its own for a label, as each type of cell has."""
        # crc32, as Python's `hash` of a string changes from process to process. The odd constant (2^64 over the golden
        # ratio) spreads nearby checksums over the seeds; generators take 63 bits.
        return self._replace(seed=(self.seed + zlib.crc32(label.encode()) * 0x9E3779B97F4A7C15) % 2**63)

    def generator(self, device: torch.device) -> torch.Generator:
        """Return a generator of this moment's random numbers; two calls give the same numbers."""
        return torch.Generator(device).manual_seed(self.seed)


# ----------------------------------------------------------------------------------------------------------------
# relaxing a cell


class Edge(NamedTuple):
    """An edge of a cell, between two of its states; the predecessors come first."""

    source: int
    target: int


@dataclass(frozen=True)
class CellLayout:
    """The graph of one type of cell: E edges with K candidate operations each.

    Edges are the rows of the architecture matrix, candidates its columns.
    """

    operations: tuple[str, ...]
    """Names of the K candidate operations; an explicit ``'none'`` among them is never selected."""
    num_predecessors: int = 2
    num_nodes: int = 4
    num_ops_per_node: int = 2
    label: str = 'normal'
    is_reduction: bool = False
    keeps_all_edges: bool = False
    """Whether every edge stays, with one operation, ``'none'`` included, as in NAS-Bench-201."""

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The E edges in the order of the rows: by target node, then by source state."""
        first = self.num_predecessors
        return tuple(
            Edge(source, target) for target in range(first, first + self.num_nodes) for source in range(target)
        )

    def edges_into(self, node: int) -> range:
        """Return the rows of the edges that enter intermediate ``node`` (from 0), ordered by source state."""
        # Node n has an edge from each predecessor and each earlier node, so the
        # rows before it are a sum of such counts.
        start = sum(self.num_predecessors + earlier for earlier in range(node))
        return range(start, start + self.num_predecessors + node)


@dataclass(frozen=True)
class CellScores:
    """What a selection is told of one relaxed cell."""

    logits: Tensor
    """Raw architecture parameters, shape ``(E, K)`` or ``(E, K + 1)`` when the relaxation carries a hidden 'none' in
    the last column; minus infinity for a candidate that was pruned."""
    probabilities: Tensor
    """Strength of each candidate by the relaxation, same shape as ``logits``; 0 for a candidate that was pruned."""
    layout: CellLayout


class Choice(NamedTuple):
    """One kept edge of a cell: operation ``operation`` applied to state ``source``."""

    operation: str
    source: int


CellGenotype = tuple[tuple[Choice, ...], ...]
"""The kept edges of each intermediate node, strongest first."""


class Selection(ABC):
    """How a discrete cell is read off the relaxed one. Pure: the same scores give the same genotype."""

    @abstractmethod
    def select(self, scores: CellScores) -> CellGenotype:
        """Choose ``num_ops_per_node`` edges for each node, or one operation for each edge where all edges are kept.

        Raises
        ------
        ValueError
            When a score is not finite: a diverged search has no cell.
        """


class Weighting(ABC):
    """How logits become mixing weights: the heart of a relaxation.

    A logit of minus infinity marks a candidate that was pruned: its weight is 0, and its gradient 0.
    """

    is_stochastic: bool = False
    """Whether it draws random numbers: a new moment is then made for each architecture step and each weight step."""
    on_simplex: bool = True
    """Whether each row of weights is a distribution, so that a smoothing can perturb it."""
    is_twice_differentiable: bool = True
    """Whether Hessians in the logits can be taken. Products with weights, as in ``Unrolled``, differentiate in them
    once."""
    is_penalised: bool = False
    """Whether :meth:`penalty` is part of the architecture's loss."""
    is_sparse: bool = False
    """Whether many weights are exactly zero and have no gradient: these operations are not computed then."""
    needs_cells: bool = False
    """Whether it works on cells alone, not on single layer choices."""

    @abstractmethod
    def weights(self, alpha: Tensor, moment: Moment) -> Tensor:
        """Map logits of shape ``(E, K)`` to mixing weights of shape ``(E, K)``; the same moment gives the same
        weights."""

    def strengths(self, alpha: Tensor, moment: Moment) -> Tensor:
        """Return what a selection sees, shape ``(E, K)``: by default the weights, without randomness."""
        return self.weights(alpha, moment)

    def penalty(self, alpha: Tensor, layout: CellLayout, moment: Moment) -> Tensor:
        """Return what the architecture pays beside its loss for one type of cell, a scalar."""
        # By default nothing is charged; a scalar of the logits' device and type, so that it can be added to others.
        del layout, moment  # Unused: there is no penalty.
        return alpha.new_zeros(())


class Transform:
    """What is done to the edges of a cell beside mixing their candidates. Transforms stack.

    A transform describes and wraps; the cells of ``nni_wcnas.supernet`` do what ``share``, ``normalises_edges`` and
    ``extra`` say.
    """

    share: int = 1
    """Into how many equal parts channels are split: operations see the first part, the others bypass them."""
    normalises_edges: bool = False
    """Whether each edge has an architecture parameter of its own, whose softmax over a node's edges weights them."""
    extra: str | None = None
    """Name of an operation that is added to every edge, outside the mixture."""
    is_random: bool = False
    """Whether passes draw random numbers from torch's global state."""

    def extra_weight(self, moment: Moment) -> float:
        """Return the weight of the extra operation at a moment."""
        del moment  # Unused: there is none.
        return 0.0

    def wrap(self, operation: str, module: nn.Module) -> nn.Module:
        """Return what takes the place of a candidate operation of an edge; by default the operation itself."""
        del operation  # Unused: operations stay as they are.
        return module

    def update(self, module: nn.Module, moment: Moment) -> None:
        """Tell a module that :meth:`wrap` has made which moment it is; called before each epoch."""
        del module, moment  # Unused: nothing changes with time.


class Smoothing(ABC):
    """What the architecture is while the weights learn. Acts in the weight step only."""

    perturbs: bool = True
    """Whether it changes anything; False for the member that does nothing."""

    @abstractmethod
    def perturbed(
        self, weights: Parameters, loss: Callable[[Parameters], Tensor], moment: Moment
    ) -> Parameters | None:
        """Return the mixing weights of the weight step.

        Parameters
        ----------
        weights
            Detached mixing weights of shape ``(E, K)`` by label, each row on the simplex. Entries that are exactly
            zero were pruned, and stay zero.
        loss
            Training loss of this batch under other mixing weights, differentiable in them; changes no statistics.
        moment
            The moment of the search, from whose epoch a radius may follow.

        Returns
        -------
        Weights of the same shapes by label; None leaves the architecture as it is.
        """


# ----------------------------------------------------------------------------------------------------------------
# stages


@dataclass(frozen=True)
class Stage:
    """One supernet to train, or one that goes on under other rules."""

    epochs: int | None
    """Length of the stage; None takes the evaluator's ``max_epochs``."""
    warmup: int = 0
    """Epochs at the start that train neither A nor B, nor an adversary that :attr:`Objective.rests_in_warmup`."""
    num_cells: int | None = None
    """Depth of the supernet; None leaves it as it is."""
    share: int | None = None
    """The :attr:`Transform.share` of this stage; None leaves it as it is. Operations are widened, keeping their
    weights."""
    is_fresh: bool = False
    """Whether weights, architecture and their optimisers start anew; else they go on."""
    learning_rate_factor: float = 1.0
    """Factor of the weights' learning rate; where it is not 1, the annealing starts anew with the stage."""


class Supernet(ABC):
    """What a schedule sees of the supernet, and may do to it, between two epochs."""

    memory: dict[str, Any]
    """Plain values that the schedule keeps from epoch to epoch; saved in checkpoints."""

    @abstractmethod
    def scores(self) -> dict[str, CellScores]:
        """Return what a selection sees, by label of the cell."""

    @abstractmethod
    def select(self, label: str) -> CellGenotype:
        """Return what the selection would choose now for one cell."""

    @abstractmethod
    def export(self) -> dict[str, Any]:
        """Return what the search would return now: NNI's sample."""

    @abstractmethod
    def prune(self, label: str, candidates: Iterable[tuple[int, int]]) -> None:
        """Take candidates out for good: pairs of a row (edge) and a column (operation) of the architecture matrix."""

    @abstractmethod
    def drop(self, label: str, edges: Iterable[int]) -> None:
        """Take whole edges out for good."""

    @abstractmethod
    def validate(self, label: str, without: Iterable[tuple[int, int]]) -> tuple[float, float]:
        """Return mean loss and accuracy on the architecture's half while candidates of one cell have no weight.

        The weights of the others stay as they are. Passes are normalised by the statistics of their batch, and move
        none.
        """

    @abstractmethod
    def largest_eigenvalue(self) -> float:
        """Return the largest eigenvalue of the Hessian of the validation loss by A, on the last validation batch."""

    @abstractmethod
    def draw(self, count: int) -> int:
        """Return a random number below ``count``, from the search's random state."""


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
        """Return the stages in order, for a space of these types of cells.

        An empty sequence stands for a space that is not known yet: of its answer, only lengths may differ from the real
        one.
        """

    def pruned(self, stage: int, scores: CellScores) -> set[tuple[int, int]]:
        """Return candidates (row, column) of one cell to take out before a stage.

        Parameters
        ----------
        stage
            The stage that begins, from 1.
        scores
            The cell at the end of the stage before.
        """
        del stage, scores  # Unused: all stay.
        return set()

    def begin_epoch(self, supernet: Supernet, moment: Moment) -> None:
        """Act before an epoch, as by pruning; by default nothing happens."""
        del supernet, moment  # Unused: nothing happens.

    def end_epoch(self, supernet: Supernet, moment: Moment) -> dict[str, Any] | None:
        """Act after an epoch; a sample (:meth:`Supernet.export`) ends the search, which returns it."""
        del supernet, moment  # Unused: the search goes on.
        return None


# ----------------------------------------------------------------------------------------------------------------
# tester and auxiliary model


class Noise(NamedTuple):
    """What images are made from: kept and passed again, it gives the same images."""

    latent: Any
    """What a tester makes its images from, beside their labels.

    For a generator: a tensor of shape ``(N, D)``, standard normal; the latent and, behind it, the noise of a generator
    that has more. For a tester that changes real images: these images and the random draws.
    """
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
    """File of pre-training that the tester was made with; an auxiliary model takes its state from there."""
    has_hyperparameters: bool = True
    """Whether there is a B.

    Where there is none, nothing ascends, and no auxiliary model learns, as its judgement is of use to B alone.
    """
    changes_validation: bool = False
    """Whether the real images that it changes are those of the validation batch, not of the training batch."""

    @abstractmethod
    def noise(self, count: int, source: Batch | None = None) -> Noise:
        """Draw what ``count`` images are made from, on the tester's device, from torch's global random state.

        ``source`` holds real images; a tester that changes real images draws from them, a generator needs none.
        """

    @abstractmethod
    def generate(self, noise: Noise, generator: Parameters | None = None) -> Tensor:
        """Return images f(G) or f(B) in [-1, 1], shape ``(N, 3, image_size, image_size)``; changes nothing.

        They are differentiable in ``generator``, by default the live :meth:`generator_parameters`.
        """

    def attack(self, images: Tensor, noise: Noise, logits: Callable[[Tensor], Tensor]) -> Tensor:
        """Return what the architecture sees of images that :meth:`generate` made of ``noise``; draws nothing.

        ``logits`` maps images in [-1, 1] to the learner's logits one step ahead; it is not differentiable in W' and A.
        """
        del noise, logits  # Unused: images are hard by B, not by the learner at hand.
        return images

    @abstractmethod
    def hyperparameters(self) -> Parameters:
        """Return B: the live, unconstrained hyper-parameters; empty where :attr:`has_hyperparameters` is False."""

    @abstractmethod
    def values(self) -> dict[str, float]:
        """Return B in its physical units, or what sums it up, by name, for logs."""

    def generator_parameters(self) -> Parameters:
        """Return what images are differentiable in: B, or the live parameters G of a generator."""
        return self.hyperparameters()

    @property
    def pauses_in_warmup(self) -> bool:
        """Whether the generator rests while B does, as in a warm-up: it would learn to fool a B that stands still."""
        return False

    def adversary_step(self, batch: Batch, *, update_generator: bool) -> Losses:
        """Let what is not B learn from one batch of real images; return the losses by name."""
        del batch, update_generator  # Unused: there is nothing but B.
        return {}

    def optimizers(self, epochs: int, *, learns_b: bool = True) -> list[NamedOptimizer]:
        """Build the optimisers of :meth:`adversary_step` and remember them; B's is the search's, where ``learns_b``."""
        del epochs, learns_b  # Unused: there is nothing but B.
        return []


class GenerativeTester(Tester):
    """A class-conditional generator G of labelled images, which learns under B beside a discriminator S."""

    @abstractmethod
    def generator_parameters(self) -> Parameters:
        """Return G: the live parameters of the generator."""

    @abstractmethod
    def generation_loss(
        self,
        noise: Noise,
        generator: Parameters | None = None,
        hyperparameters: Parameters | None = None,
        statistics: Any = None,
    ) -> tuple[Tensor, Any]:
        """Return L_dg(G, B), differentiable in both, and the statistics that it held fixed; never changes the tester.

        ``statistics`` are the batch statistics that the loss holds fixed; pass those that an earlier call returned to
        evaluate the *same* function at perturbed parameters.
        """

    @abstractmethod
    def adversary_step(self, batch: Batch, *, update_generator: bool) -> Losses:
        """Train the discriminator on one batch of real images and, if told so, the generator; return the losses by
        name."""

    @abstractmethod
    def optimizers(self, epochs: int, *, learns_b: bool = True) -> list[NamedOptimizer]:
        """Build the optimisers of G and S and remember them for :meth:`adversary_step`; B's is the search's, where
        ``learns_b``."""

    @abstractmethod
    def generator_step(self) -> SGDStep:
        """Return the numbers of the generator's next optimiser step."""


class Auxiliary(nn.Module, ABC):
    """The classifier V that judges whether generated images are meaningful.

    Called with images in [-1, 1] of shape ``(N, 3, H, W)`` it returns logits of shape ``(N, classes)``.
    """

    @abstractmethod
    def learnable(self) -> Parameters:
        """Return V: the live parameters that this model trains, not those it shares with the tester."""

    @abstractmethod
    def loss(self, images: Tensor, labels: Tensor, parameters: Parameters | None = None) -> Tensor:
        """Return the cross-entropy, differentiable in ``images`` and ``parameters``; never changes the model."""

    @abstractmethod
    def train_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Take one optimiser step on detached images; return the loss, detached."""

    @abstractmethod
    def optimizers(self, epochs: int) -> list[NamedOptimizer]:
        """Build V's optimiser over so many epochs; remember it for :meth:`train_step`."""

    @abstractmethod
    def sgd_step(self) -> SGDStep:
        """Return the numbers of V's next optimiser step."""


class NamedOptimizer(NamedTuple):
    """An optimiser of the adversary group, with its per-epoch learning-rate schedule."""

    name: str
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None


# ----------------------------------------------------------------------------------------------------------------
# one search iteration


class Learner(ABC):
    """The supernet as a pure function of its weights W and architecture A."""

    @property
    @abstractmethod
    def weights(self) -> Parameters:
        """W, the live parameters by name."""

    @property
    @abstractmethod
    def alphas(self) -> Parameters:
        """A, the live parameters by name."""

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
        """Return L_tgt, the mean loss of a batch, at given weights and architecture or the live ones.

        Running statistics stay untouched, unless ``moves_statistics``.
        """

    @abstractmethod
    def logits(self, images: Tensor, weights: Parameters | None = None, alphas: Parameters | None = None) -> Tensor:
        """Return scores of shape ``(N, classes)``, at given weights and architecture or the live ones."""

    @abstractmethod
    def loss_and_features(
        self, images: Tensor, labels: Tensor, weights: Parameters | None = None, alphas: Parameters | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the mean loss and the penultimate features, shape ``(N, F)``, of one pass."""

    @abstractmethod
    def renormalise(self, images: Tensor) -> Tensor:
        """Map images from the tester's [-1, 1] to the statistics of the learner's input."""

    @abstractmethod
    def sgd_step(self) -> SGDStep:
        """Return the numbers of the weight optimiser's next step.

        Raises
        ------
        ValueError
            When it is not plain SGD.
        """


class TrainingPass(NamedTuple):
    """One forward and backward pass on the training batch, at W."""

    gradients: Parameters
    """dL_tr / dW by name."""
    loss: Tensor
    """The training loss, detached."""


class Lookahead(NamedTuple):
    """The learner one step ahead."""

    weights: Parameters
    """W' by name, leaves that require gradients."""
    indirect: Callable[[Parameters], Parameters]
    """The map ``dL/dW' -> -lr_w (d2 L_tr / dA dW) . dL/dW'``, by name of A: what leads to A through W'.

    To be called once: an exact product frees its graph.
    """
    training: TrainingPass | None
    """The training pass behind W'; None where there was none."""


class Hypergradient(ABC):
    """How the inner problem of the learner enters dA."""

    unrolls: bool
    """Whether W' depends on A, so that gradients by W' are of use."""

    @abstractmethod
    def ahead(self, step: Step, *, reuse: bool = False) -> Lookahead:
        """Return W', and the way back from it to A.

        With ``reuse`` its training pass stands for the weight step's own: running statistics move in it.
        """

    @abstractmethod
    def inner(self, loss: Loss, parameters: Parameters, targets: Parameters) -> InnerGradient:
        """Return the gradient of another inner problem, as in the tester's chain, and its product by this member's
        method."""

    @abstractmethod
    def product(self, loss: Loss, parameters: Parameters, targets: Parameters, vector: Parameters) -> Parameters:
        """Return the product (d2 L / d targets d parameters) . vector alone, by this member's method."""


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
    """Number of the batch in its epoch, from 0."""
    gradient_clip_val: float | None = None
    """Largest norm of the gradient of a weight step; None does not clip."""


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
