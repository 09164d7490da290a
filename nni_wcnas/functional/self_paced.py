"""The closed-form weights of self-paced learning: how much each example counts, given its loss.

Each minimises ``sum(v * losses) + f(v; threshold)`` over weights v in [0, 1], for one of several regularizers f.

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

from nni_wcnas.errors import InvalidArgument

__all__ = ['Regularizer', 'easy_weights']

Regularizer = Literal['binary', 'linear', 'logarithmic', 'mixture']


def easy_weights(losses: Tensor, threshold: float, regularizer: Regularizer) -> Tensor:
    """Return the weights of examples: 1 for the easiest, 0 for losses above the threshold.

    Parameters
    ----------
    losses
        Losses of the examples, not negative, shape ``(N,)``.
    threshold
        lambda, positive. For ``'logarithmic'`` it is below 1, and losses are at most 1.
    regularizer
        Name of f: ``'binary'`` -lambda v; ``'linear'`` lambda (v^2 / 2 - v); ``'logarithmic'`` z v - z^v / ln z with
        z = 1 - lambda; ``'mixture'`` -z ln(v + z / lambda) with z = lambda, which gives full weight to losses up to
        half of the threshold.

    Returns
    -------
    Weights in [0, 1], shape ``(N,)``.

    Raises
    ------
    ValueError
        If there is no regularizer of this name.
    """
    if regularizer == 'binary':
        # The objective (loss - lambda) v is linear in v: the minimum is at an end.
        return (losses < threshold).to(losses)
    if regularizer == 'linear':
        # The derivative is 0 where loss + lambda (v - 1) = 0.
        return (1 - losses / threshold).clamp(0, 1)
    if regularizer == 'logarithmic':
        # The derivative is 0 where loss + z - z^v = 0, that is v = ln(loss + z) / ln z. The clamp gives losses from
        # lambda on ln 1 = 0.
        rest = 1 - threshold
        weights = (losses + rest).clamp(max=1).log() / math.log(rest)
        return torch.where(losses < threshold, weights, 0.0).clamp(0, 1)
    if regularizer == 'mixture':
        # The derivative is 0 where loss - z / (v + z / lambda) = 0, that is v = z / loss - z / lambda. The paper's
        # z = lambda1 lambda2 / (lambda1 - lambda2) is lambda for lambda1 = lambda and lambda2 = lambda / 2.
        return (threshold / losses.clamp(min=1e-12) - 1).clamp(0, 1)
    raise InvalidArgument('regularizer', regularizer, f"be one of {', '.join(get_args(Regularizer))}")
