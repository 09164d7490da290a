"""Discrete choices that have the gradient of their relaxations (straight-through).

References
----------
Jang, Gu, Poole, "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017; Maddison et al., "The Concrete
Distribution", ICLR 2017.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nni_wcnas.errors import InvalidArgument

__all__ = ['check_temperature', 'chosen', 'gumbel', 'switched']


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that no relaxation can have.

    Raises
    ------
    ValueError
        If the temperature is not positive and finite.
    """
    if not 0 < temperature < math.inf:
        raise InvalidArgument('temperature', temperature, 'be positive and finite')


def gumbel(*shape: int, like: Tensor) -> Tensor:
    """Draw standard Gumbel numbers from torch's global random state, with the dtype and the device of ``like``."""
    # If E is exponential with mean 1, -log(E) has the standard Gumbel distribution.
    return -torch.empty(shape, dtype=like.dtype, device=like.device).exponential_().log()


def chosen(logits: Tensor, noise: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Draw one of K candidates by probabilities softmax(logits): the first largest of logits + noise.

    Parameters
    ----------
    logits
        Logits, shape ``(K,)`` for all draws, or ``(N, K)`` with a row for each draw.
    noise
        Standard Gumbel numbers, shape ``(N, K)``.
    temperature
        Positive temperature of the relaxation softmax((logits + noise) / temperature); the draw does not depend on it.

    Returns
    -------
    The drawn candidates, shape ``(N,)``, and zeros of shape ``(N,)`` that have the derivative of the relaxed weight of
    the drawn candidate.

    Examples
    --------
    >>> chosen(torch.zeros(2), torch.tensor([[0.0, 1.0]]), 0.5)
    (tensor([1]), tensor([0.]))
    """
    noisy = logits + noise
    choice = noisy.detach().argmax(-1)
    # The choice is discrete, so callers multiply what it makes by 1 + excess: the value stays, and the gradient is that
    # of the relaxed weight of what was drawn.
    weights = (noisy / temperature).softmax(-1).gather(-1, choice[:, None]).squeeze(-1)
    return choice, weights - weights.detach()


def switched(logits: Tensor, noise: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Draw switches that are on with probabilities sigmoid(logits).

    Parameters
    ----------
    logits
        Logits of any shape.
    noise
        Standard logistic numbers of the same shape.
    temperature
        Positive temperature of the relaxation sigmoid((logits + noise) / temperature); the draw does not depend on it.

    Returns
    -------
    Whether each switch is on, and zeros that have the derivative of the relaxation; both of the same shape.
    """
    noisy = logits + noise
    relaxed = (noisy / temperature).sigmoid()
    # P(logit + logistic number > 0) = sigmoid(logit).
    return noisy.detach() > 0, relaxed - relaxed.detach()
