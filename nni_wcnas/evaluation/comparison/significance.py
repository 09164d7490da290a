"""What can be concluded: tests of every pair of methods, corrected for their number, and one sentence.

Tables 21 and 22 of the paper: double-sided t-tests (Welch's, whose variances may differ) of every pair in every
measure. All of them are one family for Holm's correction. A method of one seed has no variance, so it is in no test.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nni_wcnas.evaluation.comparison.method import Method
from nni_wcnas.evaluation.comparison.number import formatted, scale_of
from nni_wcnas.evaluation.page import escape, table
from nni_wcnas.evaluation.significance import hedges_g, holm, welch_test

__all__ = ['Test', 'conclusion', 'pairwise_tests', 'significance_table']

TESTED = {'error_hard': 'error, hardest', 'error': 'error, all', 'error_worst_class': 'error, worst class',
          'loss_cvar': 'worst losses'}
"""Measures that are tested, the first being what the conclusion is about."""
_LEVEL = 0.05


@dataclass(frozen=True)
class Test:
    """One pair in one measure; ``first`` has the lower mean."""

    measure: str
    first: Method
    second: Method
    p_value: float
    effect: float
    """Hedges' g of first minus second; negative where the first is lower."""
    corrected: float = math.nan

    @property
    def is_significant(self) -> bool:
        """After the correction, and not of values without any variance."""
        return self.corrected < _LEVEL and math.isfinite(self.effect)


def pairwise_tests(methods: Sequence[Method]) -> list[Test]:
    """Test every pair of methods with two seeds or more in every tested measure."""
    tests = []
    for measure in TESTED:
        ready = [method for method in methods if len(method.values(measure)) > 1]
        for pair in itertools.combinations(ready, 2):
            first, second = sorted(pair, key=lambda method: method.mean(measure) or 0.0)
            values = first.values(measure), second.values(measure)
            result, effect = welch_test(*values), hedges_g(*values)  # None without any variance.
            tests.append(Test(measure, first, second, 1.0 if result is None else result.p_value,
                              math.inf if effect is None else effect))
    corrected = holm([test.p_value for test in tests])
    return [replace(test, corrected=value) for test, value in zip(tests, corrected, strict=True)]


def conclusion(methods: Sequence[Method], tests: Sequence[Test], share: float) -> str:
    """One or two sentences, plain text."""
    measure = next(iter(TESTED))
    short = [method.name for method in methods if len(method.values(measure)) < 2]
    if len(methods) < 2:
        return 'One method alone: there is nothing to compare it with.'
    about = [test for test in tests if test.measure == measure]
    if not about:
        return (f'No winner can be named: a test needs at least two seeds of two methods, and {_listed(short)} '
                f'{"has" if len(short) == 1 else "have"} fewer.')
    found = [test for test in about if test.is_significant]
    verb = 'has' if len(short) == 1 else 'have'
    left = f' {_listed(short)} {verb} fewer than two seeds and no verdict.' if short else ''
    if found:
        said = [f'{test.first.name} errs less than {test.second.name} ({_mean(test.first, measure)} against '
                f'{_mean(test.second, measure)} %, p = {_p(test.corrected)})' for test in found]
        return f'On the hardest {share:.0%} of the test images {"; ".join(said)}.{left}'
    nearest = min(about, key=lambda test: test.corrected)
    counts = sorted({len(method.values(measure)) for test in about for method in (test.first, test.second)})
    number = str(counts[0]) if len(counts) == 1 else f'{counts[0]} to {counts[-1]}'
    return (f'On the hardest {share:.0%} of the test images no method is better than another by more than chance: '
            f'with {number} seeds each, the clearest difference, {nearest.first.name} '
            f'{_mean(nearest.first, measure)} % against {nearest.second.name} {_mean(nearest.second, measure)} %, '
            f'has p = {_p(nearest.corrected)}.{left}')


def significance_table(tests: Sequence[Test]) -> str:
    """A row a test."""
    if not tests:
        return ('<p class="soft">No test: two methods need two seeds each. Search, retrain and evaluate again with '
                '<code>--set seed=1</code>.</p>')
    rows = []
    for test in tests:
        low, high = test.first.mean(test.measure) or 0.0, test.second.mean(test.measure) or 0.0
        unit = scale_of(test.measure)[1]
        mark = ' <strong>*</strong>' if test.is_significant else ''
        rows.append([
            escape(TESTED[test.measure]), f'{escape(test.first.name)} &lt; {escape(test.second.name)}',
            f'{formatted(low - high, test.measure)} {"points" if unit == "%" else unit}',
            _p(test.p_value), _p(test.corrected) + mark,
            f'{test.effect:.2f}' if math.isfinite(test.effect) else 'no variance'])
    header = ('measure', 'lower < higher', 'difference', 'p', 'p, Holm', "Hedges' g")
    return table(header, rows, frozenset((2, 3, 4, 5)))


def _mean(method: Method, measure: str) -> str:
    return formatted(method.mean(measure) or 0.0, measure)


def _p(value: float) -> str:
    return f'{value:.3f}' if value >= 0.001 else f'{value:.1e}'


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f'{", ".join(names[:-1])} and {names[-1]}' if names else 'none'
