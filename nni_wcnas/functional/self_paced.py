"""The closed-form weights of self-paced learning: how much each example counts, given its loss.

All of them minimise ``sum(v * losses) + f(v; threshold)`` over weights v in [0, 1].

References
----------
Jiang, Meng, Mitamura, Hauptmann, "Easy Samples First: Self-paced Reranking for Zero-Example Multimedia Search", ACM MM
2014, section 3; Jiang, Meng, Zhao, Shan, Hauptmann, "Self-Paced Curriculum Learning", AAAI 2015, table 2.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

__all__ = ['Regularizer', 'easy_weights', 'mixture_scale']

Regularizer = Literal['binary', 'linear', 'logarithmic', 'mixture']


def easy_weights(losses: Tensor, threshold: float, regularizer: Regularizer) -> Tensor:
    """Weights of the examples, 1 for the easiest, 0 for losses above the threshold.

    Parameters
    ----------
    losses
        Not negative, shape ``(N,)``.
    threshold
        Lambda: positive; for ``'logarithmic'`` below 1, and losses are at most 1 then.
    regularizer
        Which f: ``'binary'`` -lambda v; ``'linear'`` lambda (v^2 / 2 - v); ``'logarithmic'`` z v - z^v / ln z with
        z = 1 - lambda; ``'mixture'`` -z ln(v + z / lambda) with z as in :func:`mixture_scale`: all, up to half of the
        threshold.
    """
    if regularizer == 'binary':
        return (losses < threshold).to(losses)
    if regularizer == 'linear':
        return (1 - losses / threshold).clamp(0, 1)
    if regularizer == 'logarithmic':
        rest = 1 - threshold
        weights = (losses + rest).clamp(max=1).log() / math.log(rest)
        return torch.where(losses < threshold, weights, 0.0).clamp(0, 1)
    if regularizer == 'mixture':
        scale = mixture_scale(threshold)
        return (scale / losses.clamp(min=1e-12) - scale / threshold).clamp(0, 1)
    raise ValueError(f'regularizer must be one of {", ".join(get_args(Regularizer))}, not {regularizer!r}')


def mixture_scale(threshold: float) -> float:
    """z = lambda1 lambda2 / (lambda1 - lambda2) for lambda1 = threshold and lambda2 = threshold / 2."""
    return threshold
