"""The tables of a comparison: they have the shape of the tables of papers/wcnas, and the records' own numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from markupsafe import Markup

from nni_wcnas.compare.method import Method
from nni_wcnas.compare.number import cell, scale_of
from nni_wcnas.compare.view import views_of
from nni_wcnas.measure.corruption import FAMILIES, Variant, variant_name
from nni_wcnas.page.template import Cell, note, table

__all__ = ['attack_table', 'corruption_rows', 'corruption_table', 'cost_table', 'error_table', 'measure_table',
           'variant_table', 'worst_case_table']

_NO_BEST = ('parameters', 'macs', 'search_seconds', 'pretraining_seconds', 'search_memory')
"""Measures of size and cost, of which none is marked as the best."""


def error_table(methods: Sequence[Method], share: float) -> Markup:
    """Write the errors on the worst group, the hardest images, the rest, all: table 1 of papers/wcnas, with groups."""
    # Groups come first where there are some: the verdict is about them.
    return measure_table(methods, {
        **_worst_group(methods),
        'error_hard': f'hardest {share:.0%}', 'error_rest': 'the rest', 'error': 'all',
    }, 'nni-wcnas evaluate RUN --difficulty FILE, or --difficulty reference', has_views=True)


def cost_table(methods: Sequence[Method]) -> Markup:
    """Write error, size and search cost: table 5 of papers/wcnas."""
    return measure_table(methods, {
        'error': 'test error', 'parameters': 'parameters', 'macs': 'multiply-adds', 'search_seconds': 'search',
        'pretraining_seconds': 'pre-training in it',
    }, 'nni-wcnas evaluate RUN, where RUN is a search that holds its retraining: '
       '`nni-wcnas retrain SEARCH --run SEARCH/retraining ...`')


def worst_case_table(methods: Sequence[Method], share: float) -> Markup:
    """Write the measures of the worst case: worst classes, groups and losses, and calibration."""
    columns = {
        **_worst_group(methods), 'error_worst_class': 'worst class', 'error_worst_3_classes': 'worst 3 classes',
        'loss_cvar': f'worst {share:.0%} of losses', 'loss': 'loss',
        'ece': 'calibration error', 'ece_hard': 'the same, hardest', 'brier': 'Brier', 'brier_hard': 'Brier, hardest',
    }
    return measure_table(methods, columns, 'nni-wcnas evaluate RUN --difficulty FILE --groups FILE')


def attack_table(methods: Sequence[Method]) -> Markup:
    """Write the error under each attack that was measured: table 15 of papers/wcnas."""
    # Names with `_at_` are points of the curve over epsilon, which is drawn. The order is that of measuring.
    names = dict.fromkeys(key for method in methods for record in method.records for key in record.measures
                          if key.startswith('error_attack_') and '_at_' not in key)
    columns = {'error_before_attacks': 'clean', **{key: _attack(key) for key in names}}
    return measure_table(methods, columns, 'nni-wcnas evaluate RUN --attacks NAMES')


def corruption_rows(methods: Sequence[Method]) -> dict[str, list[str]]:
    """Return the names of the measures of each corruption, all severities that any record has, families together."""
    keys = {key for method in methods for record in method.records for key in record.measures
            if key.startswith('error_corruption_') and key[-1].isdigit()}
    names = [name for family in FAMILIES.values() for name in family]
    # The name may hold underscores itself; what stands behind the last one is the severity.
    rows = {name: sorted(key for key in keys if key.rpartition('_')[0] == f'error_corruption_{name}') for name in names}
    return {name: found for name, found in rows.items() if found}


def corruption_table(methods: Sequence[Method], averages: Mapping[str, Sequence[Method]]) -> Markup:
    """Write the errors by corruption, averaged over the severities, a column for each method: tables 2 and 3.

    Parameters
    ----------
    methods
        The methods, one for each column.
    averages
        For each corruption the methods, in the same order, with that mean as their measure ``error_mean``.
    """
    header = ['corruption, %', *(each.name for each in methods)]
    lines = [_corruption_row(name.replace('_', ' '), shown, 'error_mean') for name, shown in averages.items()]
    total = list(averages).index('mean') if 'mean' in averages else None
    if any(method.values('mce') for method in methods):
        lines.append(_corruption_row('mCE, 1 is AlexNet\'s', methods, 'mce'))
    if any(method.values('relative_mce') for method in methods):
        lines.append(_corruption_row('relative mCE, 1 is AlexNet\'s', methods, 'relative_mce'))
    numbers = frozenset(range(1, len(header)))
    return table(header, lines, numbers, has_row_heads=True, total=total) + _note(methods, averages)


def variant_table(methods: Sequence[Method]) -> Markup:
    """Write the error on each variant of ImageNet that was measured; empty without any."""
    columns = {f'error_{variant}': variant_name(variant) for variant in get_args(Variant)
               if any(method.values(f'error_{variant}') for method in methods)}
    return measure_table(methods, columns, 'nni-wcnas evaluate RUN --imagenet-a DIR') if columns else Markup('')


def _corruption_row(name: str, methods: Sequence[Method], key: str) -> list[Cell]:
    """Write a row of the table of corruptions; the lowest mean is bold."""
    best = _best(methods, key)
    return [Cell(name), *(cell(method, key, best) for method in methods)]


def measure_table(methods: Sequence[Method], columns: Mapping[str, str], command: str, *,
                  has_views: bool = False) -> Markup:
    """Write a table with a row for each method and a column for each measure.

    Parameters
    ----------
    methods
        The rows.
    columns
        Head of each column, by measure.
    command
        Command that makes what is missing; a note below the table names it where something is.
    has_views
        Whether a column says what the found networks see of their images, where that was a choice.
    """
    heads = [f'{text}{_unit(key)}' for key, text in columns.items()]
    views = ['sees'] if has_views and any(views_of(method) for method in methods) else []
    # A smaller or faster network is not a better one by itself.
    bests = {key: None if key in _NO_BEST else _best(methods, key) for key in columns}
    lines = []
    for method in methods:
        seeds = len(method.records)
        lines.append([Cell(method.name, f'{seeds} seed{"s" * (seeds > 1)}'),
                      *(Cell(views_of(method) or '–') for _ in views),
                      *(cell(method, key, bests[key]) for key in columns)])
    # A mean over some of a method's seeds looks like one over all, so the note says that it may be.
    missing = any(len(method.values(key)) < len(method.records) for method in methods for key in columns)
    remark = note('–, or fewer seeds than the row says: not measured; get it with', command) if missing else ''
    header = ['method', *views, *heads]
    numbers = frozenset(range(1 + len(views), len(header)))
    return table(header, lines, numbers, has_row_heads=True) + remark


def _worst_group(methods: Sequence[Method]) -> dict[str, str]:
    """Return the column of the worst group; empty where no test images fall into groups."""
    return {'error_worst_group': 'worst group'} if any(method.values('error_worst_group') for method in methods) else {}


def _best(methods: Sequence[Method], key: str) -> float | None:
    """Return the lowest mean of a measure over the methods; None where fewer than two have it."""
    means = [mean for method in methods if (mean := method.mean(key)) is not None]
    return min(means) if len(means) > 1 else None  # All marked measures are better where they are lower.


def _unit(key: str) -> str:
    """Return the unit of a measure as the head of its column shows it, with a comma before it; empty without one."""
    text = scale_of(key)[1]
    return f', {text}' if text else ''


def _attack(key: str) -> str:
    """Write the name of an attack's measure as papers write the attack, such as PGD-20."""
    name = key.removeprefix('error_attack_')
    # Any number of steps is possible in PGD, so its names are made instead of listed.
    known = {'fgsm': 'FGSM', 'cw_l2': 'C&W', 'cw_l2_within_0.5': 'C&W within 0.5', 'autoattack': 'AutoAttack'}
    return known.get(name, name.replace('pgd_', 'PGD-'))


def _note(methods: Sequence[Method], averages: Mapping[str, Sequence[Method]]) -> Markup:
    """Write the note below the table of corruptions where a network lacks some severities; else empty."""
    missing = any(len(one.values('error_mean')) < len(whole.records)
                  for shown in averages.values() for one, whole in zip(shown, methods, strict=True))
    return note('–: not measured in all severities of the others; get it with',
                'nni-wcnas evaluate RUN --corruptions') if missing else Markup('')
