"""Hard-concrete gates: random numbers in [0, 1] that are exactly 0 or 1 with positive probability.

A logistic variable is squashed to (0, 1), stretched to (low, high) with low < 0 < 1 < high, and clamped.

References
----------
Louizos, Welling, Kingma, "Learning Sparse Neural Networks through L0 Regularization", ICLR 2018, section 2.2; Zhou et
al., "Theory-Inspired Path-Regularized Differential Network Architecture Search", NeurIPS 2020, section 4.1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ['activation_probability', 'gates']


def gates(alpha: Tensor, uniform: Tensor, temperature: float, low: float = -0.1, high: float = 1.1) -> Tensor:
    """Return gates clamp(sigmoid((alpha + ln u - ln(1 - u)) / temperature) (high - low) + low, 0, 1).

    Parameters
    ----------
    alpha
        Logits of any shape.
    uniform
        u, uniform numbers in [0, 1), of the same shape.
    temperature
        Positive; gates of a small one are nearly always 0 or 1.
    low, high
        Ends of the stretched interval, below 0 and above 1.

    Returns
    -------
    Gates of the same shape, without gradient where they are clamped.

    Examples
    --------
    >>> gates(torch.tensor([-9.0, 0.0, 9.0]), torch.full((3,), 0.5), 1.0)
    tensor([0.0000, 0.5000, 1.0000])
    """
    # logit(u) is a standard logistic number. u = 0 gives minus infinity, and a gate of exactly 0.
    return (torch.sigmoid((alpha + uniform.logit()) / temperature) * (high - low) + low).clamp(0, 1)


def activation_probability(alpha: Tensor, temperature: float, low: float = -0.1, high: float = 1.1) -> Tensor:
    """Return P(gate > 0) = sigmoid(alpha - temperature ln(-low / high)), of the same shape as ``alpha``.

    The arguments are those of :func:`gates`.

    Examples
    --------
    >>> activation_probability(torch.zeros(1), 1.0)
    tensor([0.9167])
    """
    # A gate is above 0 where the sigmoid is above s = -low / (high - low), that is alpha + logistic > temperature
    # logit(s), and logit(s) = ln(-low / high).
    return torch.sigmoid(alpha - temperature * math.log(-low / high))
