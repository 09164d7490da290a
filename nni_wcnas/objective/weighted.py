"""What the curriculum objectives share: an architecture step on a weighted mean of the validation losses."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from nni_wcnas.contracts import ArchitectureUpdate, Step
from nni_wcnas.functional.hypergradient import gradient, gradients, leaves

__all__ = ['Weigh', 'weighted_step']

Weigh = Callable[[Tensor, Tensor], Tensor]
"""Weights of shape ``(N,)``, not all zero, from detached losses ``(N,)`` and logits ``(N, classes)``."""


def weighted_step(step: Step, weigh: Weigh) -> ArchitectureUpdate:
    """dA of sum(v loss) / sum(v) over the validation batch.

    The weights v are constants to the gradient; a batch is normalised as a whole, whatever they are.
    """
    learner, hypergradient = step.learner, step.hypergradient
    weights, _ = hypergradient.ahead(step)
    alphas = leaves(learner.alphas)
    logits = learner.logits(step.val.images, weights, alphas)
    losses = F.cross_entropy(logits, step.val.labels, reduction='none')
    counts = weigh(losses.detach(), logits.detach())
    loss = (counts * losses).sum() / counts.sum()
    shown = {'A': loss.detach(), 'real': losses.detach().mean()}
    if not hypergradient.unrolls:
        return ArchitectureUpdate(gradient(loss, alphas), shown)
    direct, vector = gradients(loss, alphas, weights)
    indirect = hypergradient.indirect(step, vector)
    return ArchitectureUpdate({name: direct[name] + indirect[name] for name in alphas}, shown)
