"""Measure how bad it gets: the worst classes, the worst groups, and the mean of the worst losses.

All are pure functions of one pass of predictions. The mean of the worst losses is the conditional value at risk::

    CVaR_a(l) = min_t  t + mean(max(l - t, 0)) / a   =   mean of the a N largest losses

If a N is no integer, the last of these losses counts in part.

References
----------
Rockafellar, Uryasev, "Optimization of Conditional Value-at-Risk", Journal of Risk, 2000, equations 4 and 5; for
discrete distributions "Conditional Value-at-Risk for General Loss Distributions", 2002, proposition 8.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ['cvar', 'errors_by_group', 'worst']


def cvar(losses: Tensor, share: float) -> float:
    """Average the largest losses.

    Parameters
    ----------
    losses
        One loss for each example, shape ``(N,)``, N at least 1.
    share
        The share of the losses that is averaged, in (0, 1]; 1 gives the mean of all.

    Raises
    ------
    ValueError
        If there are no losses, or ``share`` is out of range.

    Examples
    --------
    >>> cvar(torch.tensor([4.0, 1.0, 2.0, 3.0]), 0.375)  # (4 + 3 / 2) / 1.5
    3.6666666666666665
    """
    if not 0 < share <= 1:
        raise ValueError(f'share is {share}, but it must be above 0 and at most 1: give 0.1 for the worst tenth')
    if not len(losses):
        raise ValueError('there are no losses to average: give at least one')
    count = share * len(losses)
    if math.isclose(count, round(count), rel_tol=1e-9):  # 0.1 * 30 is a little more than 3.
        count = round(count)
    whole = int(count)
    # Whole losses first; the next largest counts with the fraction of a N that is left.
    ordered = losses.double().sort(descending=True).values
    # whole <= N - 1 where a part is left, as share is at most 1: ordered[whole] exists.
    total = ordered[:whole].sum()
    if whole < count:
        total = total + (count - whole) * ordered[whole]
    return (total / count).item()


def errors_by_group(wrong: Tensor, groups: Tensor) -> dict[int, float]:
    """Average within each group, e.g. the error of each class with the true classes as groups.

    Parameters
    ----------
    wrong
        One value an example, shape ``(N,)``.
    groups
        Group of each example, shape ``(N,)``, integers.

    Returns
    -------
    dict
        Mean by group, ascending; a group without examples is left out.

    Raises
    ------
    ValueError
        If there are not as many groups as values.
    """
    if groups.shape != wrong.shape:
        raise ValueError(f'there are {len(wrong)} examples, but groups of shape {tuple(groups.shape)}; give one each')
    # names and counts have shape (groups,); places, (N,), is the place of each example's group among them.
    names, places, counts = groups.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(names), dtype=torch.float64).index_add_(0, places, wrong.double())
    return dict(zip(names.tolist(), (sums / counts).tolist(), strict=True))


def worst(errors: dict[int, float], count: int = 1) -> float:
    """Average the ``count`` largest errors, or all if there are no more.

    Raises
    ------
    ValueError
        If there are no errors, or ``count`` is not positive.
    """
    if count < 1 or not errors:
        raise ValueError(f'the worst {count} of {len(errors)} errors cannot be averaged: give at least one of both')
    largest = sorted(errors.values(), reverse=True)[:count]
    return math.fsum(largest) / len(largest)
