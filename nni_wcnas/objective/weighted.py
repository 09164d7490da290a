"""What the objectives share that weigh examples: an architecture step on weighted validation losses."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from nni_wcnas.contracts import ArchitectureUpdate, Losses, Parameters, Step
from nni_wcnas.objective.descent import descent

__all__ = ['Weigh', 'weighted_step']

Weigh = Callable[[Tensor, Tensor], Tensor]
"""Weights of shape ``(N,)``, not all zero, from detached losses ``(N,)`` and logits ``(N, classes)``."""


def weighted_step(step: Step, weigh: Weigh, *, is_mean: bool = True) -> ArchitectureUpdate:
    """dA of sum(v loss) / sum(v) over the validation batch, or of sum(v loss).

    The weights v are constants to the gradient; in a mean a batch is normalised as a whole, whatever they are.
    """
    shown: Losses = {}

    def weighted(weights: Parameters, alphas: Parameters) -> Tensor:
        logits = step.learner.logits(step.val.images, weights, alphas)
        losses = F.cross_entropy(logits, step.val.labels, reduction='none')
        counts = weigh(losses.detach(), logits.detach())
        shown['real'] = losses.detach().mean()
        total = (counts * losses).sum()
        return total / counts.sum() if is_mean else total

    alphas, loss, _ = descent(step, weighted)
    return ArchitectureUpdate(alphas, {'A': loss, **shown})
