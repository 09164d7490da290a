"""What objectives without a chain of their own share: dA of one validation loss at W'."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from nni_wcnas.contracts import Parameters, Step
from nni_wcnas.functional.hypergradient import gradient, gradients, leaves

__all__ = ['descent']


def descent(step: Step, loss: Callable[[Parameters, Parameters], Tensor]) -> tuple[Parameters, Tensor]:
    """dA of a loss of weights and architecture at W', the hypergradient's indirect part included, and the loss."""
    weights, _ = step.hypergradient.ahead(step)
    alphas = leaves(step.learner.alphas)
    value = loss(weights, alphas)
    if not step.hypergradient.unrolls:
        return gradient(value, alphas), value.detach()
    direct, vector = gradients(value, alphas, weights)
    indirect = step.hypergradient.indirect(step, vector)
    return {name: direct[name] + indirect[name] for name in alphas}, value.detach()
