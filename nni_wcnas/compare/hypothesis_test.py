"""Summaries and double-sided t-tests of several seeds, Holm's correction, and a standardised effect size."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ['Summary', 'TestResult', 'hedges_g', 'holm', 'one_sample_test', 'paired_test', 'summarise', 'welch_test']

_ROUNDING = 1e-12
"""Relative spread of values up to which they count as equal: it is the rounding of float64, not variance."""


@dataclass(frozen=True)
class Summary:
    """Mean, deviation and number of the values of one method's seeds.

    Parameters
    ----------
    mean, deviation
        Mean, and sample standard deviation (``n - 1`` in the denominator); the latter is None with one seed.
    count
        Number of seeds.
    """

    mean: float
    deviation: float | None
    count: int


@dataclass(frozen=True)
class TestResult:
    """The result of a double-sided t-test.

    Parameters
    ----------
    difference
        Difference of the means, first minus second.
    low, high
        Confidence interval of the difference.
    p_value
        Chance of a difference at least as large, were there none; in [0, 1].
    """

    __test__ = False  # Not a test class, whatever pytest takes it for.

    difference: float
    low: float
    high: float
    p_value: float


def summarise(values: Sequence[float]) -> Summary:
    """Mean, sample standard deviation and number of the seeds' values.

    Raises
    ------
    ValueError
        If there is no value, or one is not finite.

    Examples
    --------
    >>> summarise([1.0, 2.0, 3.0])
    Summary(mean=2.0, deviation=1.0, count=3)
    """
    array = _checked(values, 1)
    # The deviation of equal values can come out as rounding above 0; here it is exactly 0.
    deviation = None if len(array) == 1 else 0.0 if _is_constant(array) else float(array.std(ddof=1))
    return Summary(float(array.mean()), deviation, len(array))


def one_sample_test(values: Sequence[float], baseline: float, *, alpha: float = 0.05) -> TestResult | None:
    """Test the seeds of one method against a fixed value, as Section B.7 of the paper does with a baseline's mean.

    Parameters
    ----------
    values
        At least two.
    baseline
        E.g. a published mean.
    alpha
        The confidence interval has level ``1 - alpha``.

    Returns
    -------
    TestResult or None
        None if the values do not vary.

    Raises
    ------
    ValueError
        If there are fewer than two values, or one is not finite.
    """
    array, fixed = _checked(values, 2), float(_checked([baseline], 1)[0])
    if _is_constant(array):
        return None
    # t = (mean - fixed) / (s / sqrt(n)). scipy's interval is that of the mean, so it is moved by the fixed value.
    return _result(stats.ttest_1samp(array, fixed), float(array.mean()) - fixed, alpha, shift=-fixed)


def paired_test(first: Sequence[float], second: Sequence[float], *, alpha: float = 0.05) -> TestResult | None:
    """Test two methods seed by seed.

    Parameters
    ----------
    first, second
        Values in the same order of seeds, at least two.
    alpha
        As in :func:`one_sample_test`.

    Returns
    -------
    TestResult or None
        None if the differences do not vary.

    Raises
    ------
    ValueError
        If the lengths differ or are below two, or a value is not finite.
    """
    one, two = _checked(first, 2), _checked(second, 2)
    if len(one) != len(two):
        raise ValueError(f'a paired test has {len(one)} and {len(two)} values: give one of each method for each seed')
    # The test divides by the deviation of the differences. Its rounding grows with the values, not with the
    # differences, so the values give the scale.
    scale = max(np.abs(one).max(), np.abs(two).max())
    if np.ptp(one - two) <= _ROUNDING * scale:
        return None
    return _result(stats.ttest_rel(one, two), float((one - two).mean()), alpha)


def welch_test(first: Sequence[float], second: Sequence[float], *, alpha: float = 0.05) -> TestResult | None:
    """Test two methods whose seeds have nothing to do with each other; variances may differ.

    Parameters
    ----------
    first, second
        At least two values each.
    alpha
        As in :func:`one_sample_test`.

    Returns
    -------
    TestResult or None
        None if neither varies.

    Raises
    ------
    ValueError
        If there are fewer than two values, or one is not finite.
    """
    one, two = _checked(first, 2), _checked(second, 2)
    if _is_constant(one) and _is_constant(two):
        return None
    with warnings.catch_warnings():
        # scipy warns of a method that does not vary; the other's variance is all that the test needs then.
        warnings.filterwarnings('ignore', 'Precision loss', RuntimeWarning)
        test = stats.ttest_ind(one, two, equal_var=False)
    return _result(test, float(one.mean() - two.mean()), alpha)


def hedges_g(first: Sequence[float], second: Sequence[float]) -> float | None:
    r"""Standardised difference of two means, with the exact correction for few seeds.

    .. math:: g = J(m)\,(\bar x - \bar y) / s, \quad J(m) = \Gamma(m/2) / (\sqrt{m/2}\,\Gamma((m-1)/2))

    with the pooled deviation :math:`s` and :math:`m = n_x + n_y - 2`.

    Parameters
    ----------
    first, second
        At least two values each.

    Returns
    -------
    float or None
        None if neither varies.

    Raises
    ------
    ValueError
        If there are fewer than two values, or one is not finite.

    References
    ----------
    Hedges, "Distribution theory for Glass's estimator of effect size and related estimators", 1981, equation 6e.
    """
    one, two = _checked(first, 2), _checked(second, 2)
    if _is_constant(one) and _is_constant(two):
        return None
    freedom = len(one) + len(two) - 2  # m of the formula above.
    # s^2 = ((n_x - 1) s_x^2 + (n_y - 1) s_y^2) / m.
    pooled = math.sqrt(((len(one) - 1) * one.var(ddof=1) + (len(two) - 1) * two.var(ddof=1)) / freedom)
    # J(m) by logarithms: the gamma functions themselves overflow from m of about 340 on.
    correction = math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)) / math.sqrt(freedom / 2)
    return float(correction * (one.mean() - two.mean()) / pooled)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of several tests so that the chance of any false discovery stays below the level.

    Parameters
    ----------
    p_values
        Each in [0, 1].

    Returns
    -------
    list of float
        In the order given.

    Raises
    ------
    ValueError
        If one is outside [0, 1].

    Examples
    --------
    >>> holm([0.25, 0.125])
    [0.25, 0.25]

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    for p_value in p_values:
        if not 0 <= p_value <= 1:  # NaN is in no range, either.
            raise ValueError(f'a p-value is {p_value}: give numbers from 0 to 1')
    adjusted, largest = [0.0] * len(p_values), 0.0
    # The k-th smallest of m p-values, k = rank + 1, is multiplied by m - k + 1; the running maximum keeps the adjusted
    # ones in the order of the p-values.
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _result(test: Any, difference: float, alpha: float, shift: float = 0.0) -> TestResult:
    """Convert scipy's result; ``shift`` is added to both ends of its confidence interval."""
    interval = test.confidence_interval(1 - alpha)
    return TestResult(difference, float(interval.low) + shift, float(interval.high) + shift, float(test.pvalue))


def _checked(values: Sequence[float], least: int) -> NDArray[np.float64]:
    """Convert values to float64, shape ``(N,)``; refuse fewer than ``least`` and what is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) < least:
        raise ValueError(f'there are {len(array)} values: give at least {least}, one a seed')
    bad = array[~np.isfinite(array)]
    if len(bad):
        raise ValueError(f'a value is {bad[0]}: leave this seed out, or run it again')
    return array


def _is_constant(array: NDArray[np.float64]) -> bool:
    """Tell whether values differ by rounding at most."""
    return bool(np.ptp(array) <= _ROUNDING * np.abs(array).max())
