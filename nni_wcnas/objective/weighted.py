"""An architecture step on weighted validation losses, shared by the objectives that weigh examples."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from nni_wcnas.contracts import ArchitectureUpdate, Losses, Parameters, Step
from nni_wcnas.objective.descent import descent

__all__ = ['Weigh', 'weighted_step']

Weigh = Callable[[Tensor, Tensor], Tensor]
"""A function from detached losses ``(N,)`` and logits ``(N, classes)`` to weights ``(N,)``, which are not all zero."""


def weighted_step(step: Step, weigh: Weigh, *, is_mean: bool = True) -> ArchitectureUpdate:
    """Return dA of sum(v loss) / sum(v) over the validation batch, or of sum(v loss).

    Parameters
    ----------
    step
        The search iteration.
    weigh
        Gives the weights v, which are constants to the gradient. It is called once a step, so it may keep statistics.
    is_mean
        Whether to divide by sum(v), which makes the size of the weights immaterial.
    """
    shown: Losses = {}

    def weighted(weights: Parameters, alphas: Parameters) -> Tensor:
        logits = step.learner.logits(step.val.images, weights, alphas)
        # Losses of shape (N,), one for each example.
        losses = F.cross_entropy(logits, step.val.labels, reduction='none')
        # Detached on both sides: an objective chooses examples, and the architecture must not learn to move the choice.
        counts = weigh(losses.detach(), logits.detach())
        shown['real'] = losses.detach().mean()
        total = (counts * losses).sum()
        return total / counts.sum() if is_mean else total

    alphas, loss, _ = descent(step, weighted)
    return ArchitectureUpdate(alphas, {'A': loss, **shown})
