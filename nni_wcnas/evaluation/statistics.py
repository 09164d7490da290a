"""Tests of a difference between two methods, several seeds each, and Holm's correction for many comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

__all__ = ['hedges_g', 'holm', 'welch_test']


def welch_test(first: Sequence[float], second: Sequence[float]) -> float:
    """Double-sided p-value of Welch's t-test; without any variance 1 for equal means, else 0.

    Parameters
    ----------
    first, second
        One value a seed, at least two each.

    Raises
    ------
    ValueError
        If a method has fewer than two seeds, or a value is not finite.
    """
    a, b = _values(first), _values(second)
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        return float(a[0] == b[0])
    return float(stats.ttest_ind(a, b, equal_var=False).pvalue)


def hedges_g(first: Sequence[float], second: Sequence[float]) -> float:
    """Difference of means in pooled standard deviations, with Hedges' exact small-sample correction.

    Infinite, or 0 for equal means, where there is no variance.

    Parameters
    ----------
    first, second
        One value a seed, at least two each.

    Raises
    ------
    ValueError
        If a method has fewer than two seeds, or a value is not finite.
    """
    a, b = _values(first), _values(second)
    free = len(a) + len(b) - 2
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        return 0.0 if a[0] == b[0] else math.copysign(math.inf, a[0] - b[0])
    pooled = math.sqrt(((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / free)
    log_correction = math.lgamma(free / 2) - math.lgamma((free - 1) / 2) - math.log(free / 2) / 2
    return float((a.mean() - b.mean()) / pooled * math.exp(log_correction))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given (Holm, 1979)."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _values(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        raise ValueError(f'there are {len(array)} seeds, but a variance needs at least 2: run another seed')
    if not np.isfinite(array).all():
        raise ValueError(f'the values are {array.tolist()}, but a test needs finite numbers: leave out failed runs')
    return array
