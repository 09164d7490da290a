"""AverageCase: the architecture minimises the mean validation loss.

    dA = d L(W', A, D_val) / dA

with W' = W under ``FirstOrder`` (DARTS, first order; NNI's own strategy) and one SGD step ahead under ``Unrolled``
(DARTS, second order). Acts on every ``every``-th batch. Cost: one forward and backward through the supernet, two more
passes and the lookahead when unrolled. The neutral member of its axis.

References
----------
Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, equations 3 and 7.
"""

from __future__ import annotations

from dataclasses import dataclass

from nni_wcnas.contracts import ArchitectureUpdate, Objective, Step
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.frozen import constants
from nni_wcnas.functional.hypergradient import gradient
from nni_wcnas.objective.descent import descent

__all__ = ['AverageCase']


@dataclass(frozen=True)
class AverageCase(Objective):
    """Minimise the mean validation loss.

    Parameters
    ----------
    every
        Update the architecture on every ``every``-th batch.
    """

    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InvalidArgument('every', self.every, 'be at least 1 batch')

    def architecture_step(self, step: Step) -> ArchitectureUpdate:
        """Return dA of the mean loss of the validation batch."""
        if not step.hypergradient.unrolls:
            # The evaluator's own training step on the validation batch: any evaluator will do, as with NNI's DARTS, and
            # where the other axes are neutral the step is NNI's, bit for bit. It moves running statistics.
            with constants(step.learner.weights):
                loss = step.evaluator_loss(step.val)
                return ArchitectureUpdate(gradient(loss, step.learner.alphas), {'A': loss.detach()})
        # The unrolled loss is a function of W' and A, which an evaluator's step is not: the learner evaluates the
        # supernet as a function of given parameters.
        val = step.val
        alphas, loss, _ = descent(
            step, lambda weights, alphas: step.learner.loss(val.images, val.labels, weights, alphas)
        )
        return ArchitectureUpdate(alphas, {'A': loss})
