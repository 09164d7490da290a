"""Discrete choices with the gradient of their relaxations (straight-through).

References
----------
Jang, Gu, Poole, "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017; Maddison et al., "The Concrete
Distribution", ICLR 2017.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ['check_temperature', 'chosen', 'gumbel', 'switched']


def check_temperature(temperature: float) -> None:
    """Refuse what no relaxation has.

    Raises
    ------
    ValueError
        If it is not positive and finite.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f'temperature must be positive and finite, but is {temperature}.')


def gumbel(*shape: int, like: Tensor) -> Tensor:
    """Standard Gumbel numbers from torch's global random state, with dtype and device of ``like``."""
    return -torch.empty(shape, dtype=like.dtype, device=like.device).exponential_().log()


def chosen(logits: Tensor, noise: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Draw one of K by probabilities softmax(logits): the first largest of logits + noise.

    Parameters
    ----------
    logits
        Shape ``(K,)``, or ``(N, K)`` with those of each draw.
    noise
        Standard Gumbel numbers, shape ``(N, K)``.
    temperature
        Of the relaxation softmax((logits + noise) / temperature), positive.

    Returns
    -------
    Which were drawn, shape ``(N,)``, and how the relaxation's weight of each exceeds its own value: zeros of shape
    ``(N,)`` whose derivative is that of the weight.

    Examples
    --------
    >>> chosen(torch.zeros(2), torch.tensor([[0.0, 1.0]]), 0.5)
    (tensor([1]), tensor([0.]))
    """
    noisy = logits + noise
    choice = noisy.detach().argmax(-1)
    weights = (noisy / temperature).softmax(-1).gather(-1, choice[:, None]).squeeze(-1)
    return choice, weights - weights.detach()


def switched(logits: Tensor, noise: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Switch on with probabilities sigmoid(logits).

    Parameters
    ----------
    logits
        Any shape.
    noise
        Standard logistic numbers, same shape.
    temperature
        Of the relaxation sigmoid((logits + noise) / temperature), positive.

    Returns
    -------
    Which are on, and zeros whose derivative is that of the relaxation; both of the same shape.
    """
    noisy = logits + noise
    relaxed = (noisy / temperature).sigmoid()
    return noisy.detach() > 0, relaxed - relaxed.detach()
