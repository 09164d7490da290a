"""The architecture step that most objectives share: dA of one validation loss at the look-ahead weights W'."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from nni_wcnas.contracts import Parameters, Step
from nni_wcnas.functional.hypergradient import gradients, leaves

__all__ = ['descent']


def descent(
    step: Step, loss: Callable[[Parameters, Parameters], Tensor], others: Parameters | None = None
) -> tuple[Parameters, Tensor, Parameters]:
    """Return dA of a loss of weights and architecture, taken at W', with the hypergradient's indirect part.

    Parameters
    ----------
    step
        The search iteration.
    loss
        Scalar ``loss(W', A)`` on the validation examples.
    others
        Further tensors that the loss depends on, by name, as the pixels of generated images; default none.

    Returns
    -------
    dA by name, the detached loss, and the gradient of the loss by ``others``.
    """
    ahead = step.hypergradient.ahead(step)
    alphas, others = leaves(step.learner.alphas), others or {}
    value = loss(ahead.weights, alphas)
    if not step.hypergradient.unrolls:
        # First order: dW'/dA = 0, so the gradient by W' is never computed.
        direct, rest = gradients(value, alphas, others)
        return direct, value.detach(), rest
    # Equations 12 and 14: dA = dL/dA - lr_w (d2 L_tr / dA dW) . dL/dW', all factors
    # but the product from one backward pass.
    direct, vector, rest = gradients(value, alphas, ahead.weights, others)
    indirect = ahead.indirect(vector)
    return {name: direct[name] + indirect[name] for name in alphas}, value.detach(), rest
