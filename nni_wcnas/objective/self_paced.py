"""SelfPaced: the architecture minimises the loss on hard validation examples, the hardest first.

Self-paced learning weighs training examples by a function of their loss, easy ones first. As the WCNAS paper adapts it
for its comparison, it selects validation examples "that have large validation losses": an example counts with

    v = 1 - easy(loss; lambda),        A minimises sum(v loss) / sum(v)

where ``easy`` is the closed form of a regulariser, and lambda the loss that a share q of the batch exceeds. The share
rises linearly from ``initial`` to ``final`` over the epochs that train the architecture: first the hardest examples,
then more of them.

Acts on every ``every``-th batch. Costs what :class:`~nni_wcnas.objective.AverageCase` costs; waits for a GPU once a
batch. Deviations: region, pace and the way from easy to hard are ours, as the WCNAS paper does not give them; the
examples of a batch are compared with one another, so that nothing is kept by index; losses are divided by the largest
of their batch, as the logarithmic form needs them below 1.

References
----------
Jiang, Meng, Zhao, Shan, Hauptmann, "Self-Paced Curriculum Learning", AAAI 2015; papers/wcnas, section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from nni_wcnas.contracts import ArchitectureUpdate, Moment, Objective, Step
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.self_paced import Regularizer, easy_weights
from nni_wcnas.objective.weighted import weighted_step

__all__ = ['SelfPaced']


@dataclass(frozen=True)
class SelfPaced(Objective):
    """Minimise the loss on hard validation examples.

    Parameters
    ----------
    regularizer
        ``'binary'``: in or out; ``'linear'``, ``'logarithmic'``, ``'mixture'``: by degrees.
    initial, final
        Share of a batch that is above the threshold, at the start and at the end.
    every
        Update the architecture on every ``every``-th batch.

    Raises
    ------
    ValueError
        On an unknown regularizer, a share out of range, or shares that fall.
    """

    regularizer: Regularizer = 'binary'
    initial: float = 0.25
    final: float = 0.75
    every: int = 1

    def __post_init__(self) -> None:
        if self.regularizer not in get_args(Regularizer):
            raise InvalidArgument('regularizer', self.regularizer, f"be one of {', '.join(get_args(Regularizer))}")
        if not 0 < self.final < 1:
            raise InvalidArgument('final', self.final, 'be above 0 and below 1')
        if not 0 < self.initial <= self.final:
            raise InvalidArgument('initial', self.initial, f'be above 0 and at most final ({self.final})')
        if self.every < 1:
            raise InvalidArgument('every', self.every, 'be at least 1 batch')

    def share(self, moment: Moment) -> float:
        """Return the share of a batch above the threshold: from ``initial`` to ``final`` over the epochs after the
        warm-up."""
        epochs = moment.span - moment.warmup
        done = max(0, moment.age - moment.warmup)
        return self.initial + (self.final - self.initial) * (done / (epochs - 1) if epochs > 1 else 0.0)

    def weights(self, losses: Tensor, moment: Moment) -> Tensor:
        """Return v, how much each example counts, shape ``(N,)``; the hardest always counts wholly.

        Parameters
        ----------
        losses
            Losses of a batch, shape ``(N,)``.
        moment
            Gives the share of the epoch.
        """
        # In [0, 1], as the logarithmic regulariser needs; `tiny` guards a batch whose losses are all zero.
        relative = losses / losses.max().clamp(min=torch.finfo(losses.dtype).tiny)
        # A value between two losses, so that the share is above it and not on it.
        threshold = torch.quantile(relative, 1 - self.share(moment), interpolation='midpoint')
        # The closed forms say how easy an example is; clamped, as the logarithmic
        # one has ln(1 - lambda) as a denominator.
        hard = 1 - easy_weights(relative, float(threshold.clamp(1e-6, 1 - 1e-6)), self.regularizer)
        # sum(v) is never zero, which a mean over v needs.
        return torch.where(relative == relative.max(), 1.0, hard)

    def architecture_step(self, step: Step) -> ArchitectureUpdate:
        """Return dA of the mean of the validation losses, weighted by v."""
        return weighted_step(step, lambda losses, _: self.weights(losses, step.moment))
