"""Whether one method is better than another: seeds, significance, and a verdict that refuses to guess.

Each method has one value a seed. Two methods whose seeds are the same are compared seed by seed (paired t-test), others
by Welch's t-test, both double-sided; the p-values of all comparisons, in all measures, are one family that Holm's
step-down procedure corrects. The test of the paper is reported beside them: Section B.7 of "Worst-case neural
architecture search" tests the seeds of one method against the mean of the other (``scipy.stats.ttest_1samp``), which
ignores the other's spread and so calls more differences significant; no verdict rests on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np

from nni_wcnas.compare.hypothesis_test import (
    Summary,
    hedges_g,
    holm,
    one_sample_test,
    paired_test,
    summarise,
    welch_test,
)

__all__ = ['Comparison', 'ComparisonRow', 'compare_measures', 'compare_methods']

_NEAR = 4
"""Multiple of the level of significance below which the clearest difference is named: 0.2 at the usual 0.05."""


@dataclass(frozen=True)
class ComparisonRow:
    """One method compared with another in one measure.

    Parameters
    ----------
    method, baseline
        Names of the two methods.
    difference
        Mean of the method minus mean of the baseline.
    test
        ``'paired'`` by seed, ``'welch'``, or None where there is no test: one seed, or no variance.
    low, high
        Confidence interval of the difference, of level ``1 - alpha``, not corrected for several comparisons.
    p_value, p_adjusted
        P-value of the test, as it is and after Holm's correction.
    p_paper
        P-value of the paper's one-sample test (papers/wcnas, section B.7).
    effect_size
        Hedges' g; it has the sign of the difference.
    better
        The better of the two names if ``p_adjusted`` is below ``alpha``.
    """

    method: str
    baseline: str
    difference: float
    test: Literal['paired', 'welch'] | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    p_paper: float | None = None
    effect_size: float | None = None
    better: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Several methods compared in one measure.

    Parameters
    ----------
    summaries
        Mean, deviation and number of seeds of each method.
    rows
        One row for each compared pair.
    winner
        The method that is significantly better than every other, if there is one.
    verdict
        What can be said, in one sentence.
    """

    summaries: dict[str, Summary]
    rows: tuple[ComparisonRow, ...]
    winner: str | None
    verdict: str


def compare_methods(values: Mapping[str, Mapping[Any, float]], *, baseline: str | None = None, alpha: float = 0.05,
                    lower_is_better: bool = True) -> Comparison:
    """Compare methods in one measure, each of them run with several seeds.

    Parameters
    ----------
    values
        Value of each seed of each method, e.g. test errors; a seed is a number, or what stands for several.
    baseline
        Method that all others are compared with; None compares all pairs.
    alpha
        Level of significance, in (0, 1).
    lower_is_better
        Whether the values are errors or losses.

    Returns
    -------
    Comparison
        A winner is called only if every method has two seeds, every compared pair varies, and the best method is
        significantly better than all others.

    Raises
    ------
    ValueError
        If there are fewer than two methods, a method has no seed, a value is not finite, or the baseline is unknown.

    Examples
    --------
    >>> compare_methods({'darts': {0: 0.031}, 'wcnas': {0: 0.027}}).verdict
    'no winner: darts and wcnas have one seed; run each method with at least two, better three or more'
    """
    (comparison,) = compare_measures({'': values}, baseline=baseline, alpha=alpha,
                                     lower_is_better=lower_is_better).values()
    return comparison


def compare_measures(values: Mapping[str, Mapping[str, Mapping[Any, float]]], *, baseline: str | None = None,
                     alpha: float = 0.05, lower_is_better: bool = True) -> dict[str, Comparison]:
    """Compare methods in several measures, which are one family for the correction.

    Parameters
    ----------
    values
        Value of each seed of each method, by measure.
    baseline, alpha, lower_is_better
        As in :func:`compare_methods`.

    Returns
    -------
    dict
        The comparison by measure.

    Raises
    ------
    ValueError
        As in :func:`compare_methods`.
    """
    for methods in values.values():
        _check_comparison(methods, baseline, alpha)
    # In two passes, as Holm's correction needs the p-values of all measures and pairs before one row can be judged.
    bare = {measure: [_compare(methods, *pair, alpha) for pair in _pairs(methods, baseline)]
            for measure, methods in values.items()}
    # In the order of the rows: the loop below takes one for each row that has a test.
    adjusted = iter(holm([row.p_value for rows in bare.values() for row in rows if row.p_value is not None]))
    found = {}
    for measure, methods in values.items():
        rows = tuple(row if row.p_value is None else _judge(row, next(adjusted), alpha, lower_is_better)
                     for row in bare[measure])
        summaries = {method: summarise(list(seeds.values())) for method, seeds in methods.items()}
        found[measure] = Comparison(summaries, rows, *_verdict(summaries, rows, alpha))
    return found


def _pairs(methods: Iterable[str], baseline: str | None) -> list[tuple[str, str]]:
    """Return the pairs to compare: each method with the baseline, or, without one, with every method before it."""
    if baseline is None:
        return [(second, first) for first, second in combinations(methods, 2)]
    return [(method, baseline) for method in methods if method != baseline]


def _check_comparison(values: Mapping[str, Mapping[Any, float]], baseline: str | None, alpha: float) -> None:
    """Refuse methods that cannot be compared, an unknown baseline, and a level of significance outside (0, 1)."""
    if len(values) < 2:
        raise ValueError(f'there are {len(values)} methods to compare: give at least two')
    if baseline is not None and baseline not in values:
        raise ValueError(f'baseline is {baseline!r}: give one of {", ".join(values)}')
    if not 0 < alpha < 1:
        raise ValueError(f'alpha is {alpha}: give a number between 0 and 1')
    for method, seeds in values.items():
        if not seeds:
            raise ValueError(f'method {method!r} has no seeds: leave it out, or run it')
        for seed, value in seeds.items():
            if not math.isfinite(value):
                raise ValueError(f'seed {seed} of method {method!r} is {value}: leave it out, or run it again')


def _compare(values: Mapping[str, Mapping[Any, float]], method: str, baseline: str, alpha: float) -> ComparisonRow:
    """Compare two methods; the row has neither the corrected p-value nor a judgement yet."""
    # Equal seeds give both methods the same batches in the same order, so their values share a part of their noise.
    paired = values[method].keys() == values[baseline].keys()
    one = list(values[method].values())
    two = [values[baseline][seed] for seed in values[method]] if paired else list(values[baseline].values())
    # The difference is that of the means in a paired test, too, where it equals the mean of the differences.
    row = ComparisonRow(method, baseline, float(np.mean(one) - np.mean(two)))
    if min(len(one), len(two)) < 2:
        return row
    # Section B.7: the baseline's mean is taken as a fixed number.
    paper = one_sample_test(one, float(np.mean(two)), alpha=alpha)
    row = replace(row, p_paper=None if paper is None else paper.p_value, effect_size=hedges_g(one, two))
    result = (paired_test if paired else welch_test)(one, two, alpha=alpha)
    # The seeds do not vary, or all pairs differ by the same amount: there is no variance to test with.
    if result is None:
        return row
    return replace(row, test='paired' if paired else 'welch', low=result.low, high=result.high, p_value=result.p_value)


def _judge(row: ComparisonRow, p_adjusted: float, alpha: float, lower_is_better: bool) -> ComparisonRow:
    """Complete a row with its corrected p-value and, if that is below ``alpha``, with the better method."""
    better = row.method if (row.difference < 0) == lower_is_better else row.baseline
    return replace(row, p_adjusted=p_adjusted, better=better if p_adjusted < alpha else None)


def _verdict(summaries: dict[str, Summary], rows: tuple[ComparisonRow, ...],
             alpha: float) -> tuple[str | None, str]:
    """Return the winner, if there is one, and the verdict in a sentence.

    Reasons against a winner are tried in this order: a method with one seed, a pair without variance, no significant
    difference, and no method that is better than all others.
    """
    found = [(row.better, row.baseline if row.better == row.method else row.method, row.p_adjusted)
             for row in rows if row.better is not None]
    text = ', '.join(f'{better} is better than {other} (p = {p_value:.2g})' for better, other, p_value in found)
    though = f'; but {text}' if found else ''
    single = [method for method, summary in summaries.items() if summary.count < 2]
    if single:
        has = 'has' if len(single) == 1 else 'have'
        return None, (f'no winner: {" and ".join(single)} {has} one seed; run each method with at least two, better '
                      f'three or more{though}')
    untested = [f'{row.method} and {row.baseline}' for row in rows if row.test is None]
    if untested:
        return None, (f'no winner: the seeds of {untested[0]} do not vary, so there is nothing to test; check the runs'
                      f'{though}')
    if not found:
        # Every row has a test here, as pairs without one were told above.
        nearest = min(rows, key=lambda row: row.p_adjusted or 0.0)
        near = (f'the clearest, {nearest.method} and {nearest.baseline}, has p = {nearest.p_adjusted:.2g}'
                if (nearest.p_adjusted or 0.0) < _NEAR * alpha else 'none is near it')
        return None, f'no winner: no difference is significant at {alpha:g} after Holm\'s correction ({near})'
    for method in summaries:
        # With a baseline only its own pairs are there: of three methods or more, no other can have beaten all.
        if {other for better, other, _ in found if better == method} == summaries.keys() - {method}:
            return method, f'{method} wins: {text}'
    return None, f'no method beats all others, but {text}'
