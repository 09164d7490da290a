"""Statistics against scipy, closed forms and brute force."""

import itertools
import math

import pytest
from scipy import stats

from nni_wcnas.evaluation.statistics import hedges_g, holm, welch_test

A, B = [2.6, 2.7, 2.9], [2.8, 3.1, 3.0, 3.3]


def test_welch_is_scipys_from_summaries():
    (a, x), (b, y) = ((stats.tmean(v), stats.tstd(v)) for v in (A, B))
    assert welch_test(A, B) == pytest.approx(stats.ttest_ind_from_stats(a, x, 3, b, y, 4, equal_var=False).pvalue)


def test_no_variance():
    assert (welch_test([1, 1], [1, 1]), welch_test([1, 1], [2, 2])) == (1, 0)
    assert (hedges_g([1, 1], [1, 1]), hedges_g([1, 1], [2, 2])) == (0, -math.inf)


def test_hedges_by_hand():
    # Means 1 and 3, both variances 2, two degrees of freedom: the correction is gamma(1) / gamma(1/2).
    assert hedges_g([0, 2], [2, 4]) == pytest.approx(-math.sqrt(2) / math.sqrt(math.pi))


def test_holm_is_the_closed_test_of_bonferroni():
    p = [0.04, 0.01, 0.03, 0.2]
    subsets = [s for size in range(1, 5) for s in itertools.combinations(range(4), size)]
    closed = [max(min(1, len(s) * min(p[i] for i in s)) for s in subsets if index in s) for index in range(4)]
    assert holm(p) == pytest.approx(closed)


@pytest.mark.parametrize(
    ('values', 'text'), [([1], 'another seed'), ([1, math.nan], 'finite'), ([1, math.inf], 'finite')]
)
def test_bad_input(values, text):
    with pytest.raises(ValueError, match=text):
        welch_test(values, A)
