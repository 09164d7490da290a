"""The axis hypergradient, with the learner and the search iteration that it sees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from nni_wcnas.contracts.batch import Batch, Parameters, SGDStep
from nni_wcnas.contracts.moment import Moment
from nni_wcnas.contracts.tester import Auxiliary, Tester
from nni_wcnas.functional.hypergradient import InnerGradient, Loss

__all__ = ['Learner', 'TrainingPass', 'Lookahead', 'Hypergradient', 'Step']


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
