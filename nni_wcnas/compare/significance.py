"""What can be concluded of a comparison: a test of every pair of methods in every measure, and one verdict.

All tests are one family for the correction of :func:`nni_wcnas.compare.verdict.compare_measures`. Beside each
stands the p-value of the paper's own test, that of its tables 21 and 22, on which no verdict rests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from nni_wcnas.compare.method import Method
from nni_wcnas.compare.number import formatted, scale_of
from nni_wcnas.compare.seeds import is_of_one_search
from nni_wcnas.compare.verdict import Comparison, ComparisonRow, compare_measures
from nni_wcnas.page.template import note, table

__all__ = ['TESTED', 'compare', 'conclusion', 'significance_table']

TESTED = {'error_worst_group': 'error, worst group', 'error_hard': 'error, hardest', 'error': 'error, all',
          'error_worst_class': 'error, worst class', 'loss_cvar': 'worst losses'}
"""Tested measures and their names; the conclusion is about the first that is known. Lower is better in all."""
_TESTS = {'paired': 'paired t', 'welch': "Welch's t", None: 'none'}
"""Names of the tests as the table writes them."""


def compare(methods: Sequence[Method]) -> dict[str, Comparison]:
    """Compare the methods in each tested measure that at least two of them have; all tests are one family.

    Returns
    -------
    dict
        The comparison by measure, in the order of :data:`TESTED`.
    """
    # Methods without the measure are left out of its tests; the conclusion names them as not measured.
    values = {measure: {method.name: found for method in methods if (found := method.by_seed(measure))}
              for measure in TESTED}
    return compare_measures({measure: found for measure, found in values.items() if len(found) > 1})


def conclusion(methods: Sequence[Method], comparisons: Mapping[str, Comparison], share: float) -> str:
    """Write the conclusion in a few sentences of plain text.

    Parameters
    ----------
    methods
        All methods.
    comparisons
        As :func:`compare` gives them.
    share
        Share of the test images that count as the hardest.
    """
    # The first in the table's order that two methods have, else that any has: one method alone decides nothing.
    known = [each for each in TESTED if any(method.values(each) for method in methods)]
    measure = next((each for each in known if each in comparisons), known[0] if known else next(iter(TESTED)))
    if len(methods) < 2:
        return 'One method alone: there is nothing to compare it with.'
    absent = [method.name for method in methods if not method.values(measure)]
    left = f' Not measured: {", ".join(absent)}.' if absent else ''
    if measure not in comparisons:
        return f'No winner: nothing is known of two methods; evaluate their runs.{left}'
    found = comparisons[measure]
    means = ', '.join(f'{name} {formatted(summary.mean, measure)} %' for name, summary in found.summaries.items())
    where = {
        'error_worst_group': 'On the worst group of the test images',
        'error_hard': f'On the hardest {share:.0%} of the test images',
    }.get(measure, 'On all test images')
    # Only a winner is qualified: that nothing is significant holds for the cells as for the methods.
    verdict = found.verdict if found.winner is None else _of_cells(methods, found.verdict)
    return f'{where}, {verdict}. Mean errors: {means}.{left}'


def _of_cells(methods: Sequence[Method], verdict: str) -> str:
    """Qualify a verdict that names a winner, where a method was searched only once: its cell may be luck.

    Published cells, whose search has no seed, are judged as cells.
    """
    once = [method.name for method in methods
            if method.records[0].seed is not None and is_of_one_search(method.records)]
    if not once:
        return verdict
    verb = 'was' if len(once) == 1 else 'were'
    return (f'no method is named a winner: {" and ".join(once)} {verb} searched with one seed; of the found cells, '
            f'{verdict}')


def significance_table(comparisons: Mapping[str, Comparison]) -> Markup:
    """Write the table of tests, a row for each pair of methods and measure; a remark where nothing could be tested."""
    rows = [(measure, row) for measure, found in comparisons.items() for row in found.rows]
    if not any(row.test for _, row in rows):
        return note('No test: two methods need two seeds each. Search again with --set seed=1, or retrain with '
                    '--seed 1, then evaluate.')
    header = ('measure', 'method', 'against', 'difference', 'test', 'p', 'p, Holm', 'p, one sample', "Hedges' g")
    return table(header, [_cells(measure, row) for measure, row in rows], frozenset((3, 5, 6, 7, 8)))


def _cells(measure: str, row: ComparisonRow) -> list[str]:
    """Write the cells of one row of the table of tests; a dash stands where there is no number."""
    # A difference of two percentages is in percentage points.
    unit = 'points' if scale_of(measure)[1] == '%' else scale_of(measure)[1]
    mark = ' *' if row.better else ''
    return [
        TESTED[measure], row.method, row.baseline,
        f'{formatted(row.difference, measure)} {unit}'.rstrip(), _TESTS[row.test],
        _p(row.p_value), _p(row.p_adjusted) + mark, _p(row.p_paper),
        '–' if row.effect_size is None else f'{row.effect_size:.2f}',
    ]


def _p(value: float | None) -> str:
    """Write a p-value with three decimals, a very small one with its power of ten, none as a dash."""
    if value is None:
        return '–'
    return f'{value:.3f}' if value >= 0.001 else f'{value:.1e}'
