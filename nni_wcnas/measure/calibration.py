"""Measure whether a network's confidence is justified: expected calibration error and Brier score.

With the confidence p_i of the predicted class, and the bins B_b over it::

    ECE    = sum_b |B_b| / N * | mean_{i in B_b} right_i - mean_{i in B_b} p_i |
    Brier  = mean_i sum_c (p_ic - [c = y_i])^2                                          in [0, 2]

Bins of equal width are the usual ones; of a good network nearly all examples fall into the last. Bins of equal mass
hold as many examples each, and have less bias (Nixon et al.). The negative log-likelihood is the loss.

References
----------
Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3; Nixon et al., "Measuring Calibration in
Deep Learning", CVPR workshops 2019; Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ['brier_score', 'calibration_error']


def calibration_error(
    probabilities: Tensor, labels: Tensor, *, bins: int = 15, kind: Literal['mass', 'width'] = 'mass'
) -> float:
    """Measure the expected calibration error of the predicted class.

    Parameters
    ----------
    probabilities
        Probabilities of the classes for each example, shape ``(N, C)``; rows sum to 1.
    labels
        True classes, shape ``(N,)``.
    bins
        How many bins there are.
    kind
        ``'mass'``: in the order of confidence, as equal a number of examples in each bin as can be; of examples with
        equal confidence the first comes first. ``'width'``: equally wide intervals of confidence, closed on the right.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If there are no examples, or ``bins`` is not positive.
    """
    if bins < 1 or not len(labels):
        raise ValueError(f'{len(labels)} examples cannot be put into {bins} bins: give at least one of both')
    confidence, classes = probabilities.double().max(dim=1)
    # |B_b| |mean right_i - mean p_i| = |sum over B_b of (right_i - p_i)|: the sums of the gaps are all that is needed.
    gaps = (classes == labels).double() - confidence
    if kind == 'mass':
        # With fewer examples than bins some parts are empty, and their sum is 0.
        parts = gaps[confidence.argsort(stable=True)].tensor_split(bins)
        sums = torch.stack([part.sum() for part in parts])
    else:
        # Bin b, from 0, is (b / bins, (b + 1) / bins]; a confidence of 0 joins the first.
        places = (confidence * bins).ceil().long().clamp(1, bins) - 1
        sums = torch.zeros(bins, dtype=torch.float64).index_add_(0, places, gaps)
    return (sums.abs().sum() / len(labels)).item()


def brier_score(probabilities: Tensor, labels: Tensor) -> float:
    """Average the squared distance of the probabilities from the truth.

    Parameters
    ----------
    probabilities
        Probabilities of the classes for each example, shape ``(N, C)``.
    labels
        True classes, shape ``(N,)``.

    Returns
    -------
    float
        In [0, 2].
    """
    # [c = y_i], shape (N, C).
    truth = F.one_hot(labels, probabilities.shape[1]).double()
    return (probabilities.double() - truth).square().sum(dim=1).mean().item()
