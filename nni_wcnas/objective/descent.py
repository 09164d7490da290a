"""What objectives without a chain of their own share: dA of one validation loss at W'."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from nni_wcnas.contracts import Parameters, Step
from nni_wcnas.functional.hypergradient import gradients, leaves

__all__ = ['descent']


def descent(
    step: Step, loss: Callable[[Parameters, Parameters], Tensor], others: Parameters | None = None
) -> tuple[Parameters, Tensor, Parameters]:
    """dA of a loss of weights and architecture at W', the hypergradient's indirect part included.

    Returns
    -------
    dA, the loss, and its gradient by ``others``, which it also depends on.
    """
    ahead = step.hypergradient.ahead(step)
    alphas, others = leaves(step.learner.alphas), others or {}
    value = loss(ahead.weights, alphas)
    if not step.hypergradient.unrolls:
        direct, rest = gradients(value, alphas, others)
        return direct, value.detach(), rest
    direct, vector, rest = gradients(value, alphas, ahead.weights, others)
    indirect = ahead.indirect(vector)
    return {name: direct[name] + indirect[name] for name in alphas}, value.detach(), rest
