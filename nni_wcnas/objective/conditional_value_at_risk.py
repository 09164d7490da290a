"""ConditionalValueAtRisk: the architecture minimises the mean loss of the worst share of each validation batch.

    A minimises  CVaR = min_t  t + mean(max(l - t, 0)) / q  =  sum(v l) / sum(v)

for the losses l of a batch of N examples and a share q. The minimum is at the loss t that q N examples reach: an
example above it has v = 1, one below it v = 0, and those that have it share what is left of q N, so that a share which
is no whole number of examples weighs its last one by a fraction. Where q N is below 1 this is the largest loss.

Acts on every ``every``-th batch. Costs what :class:`~nni_wcnas.objective.AverageCase` costs. Deviations: the worst
share is that of each batch and not of the whole half, so that what is minimised lies below the half's CVaR, the more so
the fewer examples q N are (Levy et al.); hence q = 0.25, 16 of the papers' batches of 64.

References
----------
Rockafellar and Uryasev, "Optimization of Conditional Value-at-Risk", Journal of Risk 2000, theorem 1; Williamson and
Menon, "Fairness Risk Measures", ICML 2019; Levy et al., "Large-Scale Methods for Distributionally Robust Optimization",
NeurIPS 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nni_wcnas.contracts import ArchitectureUpdate, Objective, Step
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.objective.weighted import weighted_step

__all__ = ['ConditionalValueAtRisk']


@dataclass(frozen=True)
class ConditionalValueAtRisk(Objective):
    """Minimise the mean loss of the worst share of a validation batch.

    Parameters
    ----------
    share
        q: the share of a batch that counts, above 0 and at most 1; 1 is the mean loss of all.
    every
        Update the architecture on every ``every``-th batch.

    Raises
    ------
    ValueError
        On a share out of range, or ``every`` below 1.

    Examples
    --------
    >>> ConditionalValueAtRisk(share=0.5).weights(torch.tensor([3.0, 1.0, 2.0]))
    tensor([1.0000, 0.0000, 0.5000])
    """

    share: float = 0.25
    every: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise InvalidArgument('share', self.share, 'be above 0 and at most 1')
        if self.every < 1:
            raise InvalidArgument('every', self.every, 'be at least 1 batch')

    def weights(self, losses: Tensor) -> Tensor:
        """Return v, how much each example counts, shape ``(N,)``; the entries add up to q N.

        Parameters
        ----------
        losses
            Losses of a batch, shape ``(N,)``.
        """
        count = self.share * len(losses)
        # t is the ceil(q N)-th largest loss, the minimiser in theorem 1 of Rockafellar and Uryasev.
        threshold = losses.sort(descending=True).values[math.ceil(count) - 1]
        above, at = losses > threshold, losses == threshold
        # Examples at t share what is left of q N, so that ties and a fractional q N do not change the value.
        return torch.where(at, (count - above.sum()) / at.sum(), above.to(losses))

    def architecture_step(self, step: Step) -> ArchitectureUpdate:
        """Return dA of the mean loss of the worst share of the validation batch."""
        return weighted_step(step, lambda losses, _: self.weights(losses))
