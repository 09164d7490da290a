"""Statistics against scipy, closed forms and brute force; refusals."""

from __future__ import annotations

import math
import warnings
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from nni_wcnas.compare.hypothesis_test import (
    hedges_g,
    holm,
    one_sample_test,
    paired_test,
    summarise,
    welch_test,
)
from nni_wcnas.compare.verdict import compare_measures, compare_methods

FIRST = [2.31, 2.52, 2.44, 2.39, 2.61]
SECOND = [2.71, 2.80, 2.59, 2.93, 2.75]


def _seeds(values):
    return dict(enumerate(values))


def test_summary_has_the_sample_deviation():
    summary = summarise([1.0, 2.0, 4.0])
    assert summary.mean == pytest.approx(7 / 3, rel=1e-15)
    assert summary.deviation == pytest.approx(math.sqrt(7 / 3), rel=1e-15)
    assert (summary.count, summarise([3.0]).deviation, summarise([0.1] * 3).deviation) == (3, None, 0.0)


def test_paired_test_in_closed_form():
    difference = np.subtract(FIRST, SECOND)
    error = difference.std(ddof=1) / math.sqrt(5)
    result = paired_test(FIRST, SECOND, alpha=0.1)
    assert result.p_value == pytest.approx(2 * stats.t.sf(abs(difference.mean() / error), 4), rel=1e-12)
    assert result.difference == pytest.approx(difference.mean(), rel=1e-12)
    width = stats.t.ppf(0.95, 4) * error
    assert (result.low, result.high) == pytest.approx((difference.mean() - width, difference.mean() + width), rel=1e-12)


def test_welch_test_in_closed_form():
    one, two = np.array(FIRST), np.array(SECOND[:3])
    a, b = one.var(ddof=1) / 5, two.var(ddof=1) / 3
    freedom = (a + b) ** 2 / (a ** 2 / 4 + b ** 2 / 2)
    difference = one.mean() - two.mean()
    result = welch_test(one, two)
    assert result.p_value == pytest.approx(2 * stats.t.sf(abs(difference) / math.sqrt(a + b), freedom), rel=1e-12)
    width = stats.t.ppf(0.975, freedom) * math.sqrt(a + b)
    assert (result.low, result.high) == pytest.approx((difference - width, difference + width), rel=1e-12)


def test_welch_test_of_a_method_that_does_not_vary():
    """Without a warning: its variance is 0, and that is no loss of precision."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        result = welch_test([0.1, 0.1, 0.1], FIRST)
    assert result.p_value == pytest.approx(stats.ttest_1samp(FIRST, 0.1).pvalue, rel=1e-9)


def test_the_papers_test_is_scipys_on_one_sample():
    result = one_sample_test(FIRST, 2.6)
    assert result.p_value == stats.ttest_1samp(FIRST, 2.6).pvalue
    width = stats.t.ppf(0.975, 4) * np.std(FIRST, ddof=1) / math.sqrt(5)
    assert (result.low, result.high) == pytest.approx((2.454 - 2.6 - width, 2.454 - 2.6 + width), rel=1e-12)


@pytest.mark.parametrize('alpha', [0.01, 0.05, 0.2])
def test_significance_is_an_interval_without_zero(alpha):
    for test, second in ((paired_test, SECOND), (welch_test, SECOND), (one_sample_test, 2.5)):
        result = test(FIRST, second, alpha=alpha)
        assert (result.p_value < alpha) == (not result.low <= 0 <= result.high)


def test_effect_size_in_closed_form():
    pooled = math.sqrt((np.var(FIRST, ddof=1) + np.var(SECOND, ddof=1)) / 2)
    exact = math.gamma(4) / (2 * math.gamma(3.5))
    assert hedges_g(FIRST, SECOND) == pytest.approx(exact * (np.mean(FIRST) - np.mean(SECOND)) / pooled, rel=1e-12)
    assert hedges_g(FIRST, SECOND) == pytest.approx(-hedges_g(SECOND, FIRST), rel=1e-12)
    assert exact == pytest.approx(1 - 3 / (4 * 8 - 1), abs=1e-3)  # Hedges's approximation.


def _holm_by_closed_testing(p_values):
    """The largest Bonferroni p-value of all subsets of hypotheses that hold one of them."""
    everything = range(len(p_values))
    subsets = [subset for size in everything for subset in combinations(everything, size + 1)]
    return [max(min(1.0, len(subset) * min(p_values[k] for k in subset)) for subset in subsets if i in subset)
            for i in everything]


@pytest.mark.parametrize('seed', range(20))
def test_holm_is_closed_testing_by_bonferroni(seed):
    generator = np.random.default_rng(seed)
    p_values = (generator.random(seed % 7) ** 3).round(2).tolist()  # Ties included.
    assert holm(p_values) == pytest.approx(_holm_by_closed_testing(p_values), abs=1e-15)


def test_a_clear_winner_is_called():
    result = compare_methods({'darts': _seeds(SECOND), 'wcnas': _seeds(FIRST)})
    (row,) = result.rows
    assert (row.method, row.baseline, row.test, row.better, result.winner) == ('wcnas', 'darts', 'paired', 'wcnas',
                                                                              'wcnas')
    assert row.p_value == row.p_adjusted == stats.ttest_rel(FIRST, SECOND).pvalue
    assert row.p_paper == stats.ttest_1samp(FIRST, np.mean(SECOND)).pvalue
    assert row.effect_size == hedges_g(FIRST, SECOND)
    assert result.verdict.startswith('wcnas wins: wcnas is better than darts (p = ')
    assert compare_methods({'darts': _seeds(SECOND), 'wcnas': _seeds(FIRST)}, lower_is_better=False).winner == 'darts'


def test_pairs_go_by_seed_not_by_order():
    shuffled = {seed: FIRST[seed] for seed in (3, 0, 4, 1, 2)}
    plain, mixed = (compare_methods({'darts': _seeds(SECOND), 'wcnas': values}).rows[0]
                    for values in (_seeds(FIRST), shuffled))
    assert mixed.p_value == pytest.approx(plain.p_value, rel=1e-12)
    other = {seed + 10: value for seed, value in enumerate(FIRST)}
    assert compare_methods({'darts': _seeds(SECOND), 'wcnas': other}).rows[0].test == 'welch'


def test_many_comparisons_are_corrected():
    generator = np.random.default_rng(0)
    values = {f'm{k}': _seeds(generator.normal(2.5 + 0.1 * k, 0.1, 4)) for k in range(4)}
    pairs = compare_methods(values).rows
    assert [row.p_adjusted for row in pairs] == holm([row.p_value for row in pairs])
    assert len(pairs) == 6
    against = compare_methods(values, baseline='m2')
    assert [(row.method, row.baseline) for row in against.rows] == [('m0', 'm2'), ('m1', 'm2'), ('m3', 'm2')]
    assert against.winner is None


def test_measures_are_one_family():
    generator = np.random.default_rng(0)
    values = {measure: {f'm{k}': _seeds(generator.normal(2.5 + 0.1 * k, 0.1, 4)) for k in range(3 - measure)}
              for measure in range(2)}
    found = compare_measures(values)
    rows = [row for comparison in found.values() for row in comparison.rows]
    assert len(rows) == 4 and [row.p_adjusted for row in rows] == holm([row.p_value for row in rows])
    assert found[1].rows[0].p_adjusted > compare_methods(values[1]).rows[0].p_adjusted
    assert found[0].summaries == compare_methods(values[0]).summaries


def test_others_are_told_beside_one_seed():
    result = compare_methods({'a': _seeds(FIRST), 'b': _seeds(SECOND), 'c': {0: 0.1}})
    assert result.winner is None
    assert result.verdict.startswith('no winner: c has one seed')
    assert '; but a is better than b (p = ' in result.verdict


def test_one_seed_wins_nothing():
    result = compare_methods({'darts': _seeds(SECOND), 'wcnas': {0: 0.1}})
    assert result.winner is None
    assert result.rows[0].p_value is None
    assert result.verdict.startswith('no winner: wcnas has one seed')


def test_an_insignificant_difference_wins_nothing():
    result = compare_methods({'a': _seeds([2.5, 2.7, 2.4]), 'b': _seeds([2.6, 2.5, 2.45])})
    assert (result.winner, result.rows[0].better) == (None, None)
    assert 'no difference is significant at 0.05' in result.verdict


@pytest.mark.parametrize(('one', 'two'), [([0.1] * 3, [0.2] * 3), ([0.3] * 3, [0.3] * 3), ([0.0] * 2, [0.0] * 2),
                                          ([0.1, 0.2, 0.4], [0.2, 0.3, 0.5])])
def test_no_variance_wins_nothing(one, two):
    result = compare_methods({'a': _seeds(one), 'b': _seeds(two)})
    assert result.winner is None
    assert 'do not vary' in result.verdict
    assert all(value is None or not isinstance(value, float) or math.isfinite(value)
               for value in vars(result.rows[0]).values())


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match=rf"^seed 1 of method 'b' is {value}: .*run it again$"):
        compare_methods({'a': _seeds(FIRST), 'b': {0: 1.0, 1: value}})
    for call in (summarise, lambda values: paired_test(values, [1.0, 2.0]), lambda values: hedges_g([1.0, 2.0], values),
                 lambda values: one_sample_test(values, 0.0), lambda values: welch_test(values, [1.0, 2.0])):
        with pytest.raises(ValueError, match=f'^a value is {value}: leave this seed out'):
            call([1.0, value])


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: compare_methods({'a': _seeds(FIRST)}), '^there are 1 methods'),
    (lambda: compare_methods({'a': _seeds(FIRST), 'b': {}}), "^method 'b' has no seeds"),
    (lambda: compare_methods({'a': _seeds(FIRST), 'b': _seeds(SECOND)}, baseline='c'), "^baseline is 'c': give one"),
    (lambda: compare_methods({'a': _seeds(FIRST), 'b': _seeds(SECOND)}, alpha=1.0), '^alpha is 1.0'),
    (lambda: paired_test(FIRST, SECOND[:3]), '^a paired test has 5 and 3 values'),
    (lambda: welch_test(FIRST, [1.0]), '^there are 1 values: give at least 2'),
    (lambda: summarise([]), '^there are 0 values'),
    (lambda: holm([0.1, 1.5]), '^a p-value is 1.5'),
])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
