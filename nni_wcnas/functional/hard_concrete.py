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
    """clamp(sigmoid((alpha + ln u - ln(1 - u)) / temperature) (high - low) + low, 0, 1).

    Parameters
    ----------
    alpha
        Logits, any shape.
    uniform
        u, in [0, 1), same shape.
    temperature
        Positive; gates of a small one are nearly always 0 or 1.
    low, high
        Ends of the stretched interval, below 0 and above 1.

    Returns
    -------
    Same shape; without gradient where clamped.

    Examples
    --------
    >>> gates(torch.tensor([-9.0, 0.0, 9.0]), torch.full((3,), 0.5), 1.0)
    tensor([0.0000, 0.5000, 1.0000])
    """
    return (torch.sigmoid((alpha + uniform.logit()) / temperature) * (high - low) + low).clamp(0, 1)


def activation_probability(alpha: Tensor, temperature: float, low: float = -0.1, high: float = 1.1) -> Tensor:
    """P(gate > 0) = sigmoid(alpha - temperature ln(-low / high)), same shape as ``alpha``.

    Examples
    --------
    >>> activation_probability(torch.zeros(1), 1.0)
    tensor([0.9167])
    """
    return torch.sigmoid(alpha - temperature * math.log(-low / high))
