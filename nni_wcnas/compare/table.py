"""The tables of a comparison: they have the shape of the tables of papers/wcnas, and the records' own numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from nni_wcnas.compare.method import Method
from nni_wcnas.compare.number import DASH, cell, scale_of
from nni_wcnas.measure.corruption import FAMILIES, Variant, variant_name
from nni_wcnas.page.html import escape

__all__ = ['attack_table', 'corruption_rows', 'corruption_table', 'cost_table', 'error_table', 'measure_table',
           'variant_table', 'worst_case_table']

_NO_BEST = ('parameters', 'macs', 'search_seconds', 'pretraining_seconds', 'search_memory')
"""Measures of size and cost, of which none is marked as the best."""


def error_table(methods: Sequence[Method], share: float) -> str:
    """Write the errors on the hardest images, on the rest and on all: table 1 of papers/wcnas."""
    return measure_table(methods, {
        'error_hard': f'hardest {share:.0%}', 'error_rest': 'the rest', 'error': 'all',
    }, 'nni-wcnas evaluate RUN --difficulty FILE, or --difficulty reference')


def cost_table(methods: Sequence[Method]) -> str:
    """Write error, size and search cost: table 5 of papers/wcnas."""
    return measure_table(methods, {
        'error': 'test error', 'parameters': 'parameters', 'macs': 'multiply-adds', 'search_seconds': 'search',
        'pretraining_seconds': 'pre-training in it',
    }, 'nni-wcnas evaluate RUN, where RUN is a search that holds its retraining: '
       '`nni-wcnas retrain SEARCH --run SEARCH/retraining ...`')


def worst_case_table(methods: Sequence[Method], share: float) -> str:
    """Write the measures of the worst case: worst classes, groups and losses, and calibration."""
    columns = {
        'error_worst_class': 'worst class', 'error_worst_3_classes': 'worst 3 classes',
        'error_worst_group': 'worst group', 'loss_cvar': f'worst {share:.0%} of losses', 'loss': 'loss',
        'ece': 'calibration error', 'ece_hard': 'the same, hardest', 'brier': 'Brier', 'brier_hard': 'Brier, hardest',
    }
    if not any(method.values('error_worst_group') for method in methods):
        del columns['error_worst_group']
    return measure_table(methods, columns, 'nni-wcnas evaluate RUN --difficulty FILE --groups FILE')


def attack_table(methods: Sequence[Method]) -> str:
    """Write the error under each attack that was measured: table 15 of papers/wcnas."""
    # Names with `_at_` are points of the curve over epsilon, which is drawn. The order is that of measuring.
    names = dict.fromkeys(key for method in methods for record in method.records for key in record.measures
                          if key.startswith('error_attack_') and '_at_' not in key)
    columns = {'error_before_attacks': 'clean', **{key: _attack(key) for key in names}}
    if not names:
        return _missing('nni-wcnas evaluate RUN --attacks fgsm,pgd_10,pgd_20,pgd_100,cw_l2')
    return measure_table(methods, columns, 'nni-wcnas evaluate RUN --attacks NAMES')


def corruption_rows(methods: Sequence[Method]) -> dict[str, list[str]]:
    """Return the names of the measures of each corruption, all severities that any record has, families together."""
    keys = {key for method in methods for record in method.records for key in record.measures
            if key.startswith('error_corruption_') and key[-1].isdigit()}
    names = [name for family in FAMILIES.values() for name in family]
    # The name may hold underscores itself; what stands behind the last one is the severity.
    rows = {name: sorted(key for key in keys if key.rpartition('_')[0] == f'error_corruption_{name}') for name in names}
    return {name: found for name, found in rows.items() if found}


def corruption_table(methods: Sequence[Method], averages: Mapping[str, Sequence[Method]]) -> str:
    """Write the errors by corruption, averaged over the severities, a column for each method: tables 2 and 3.

    Parameters
    ----------
    methods
        The methods, one for each column.
    averages
        For each corruption the methods, in the same order, with that mean as their measure ``error_mean``.
    """
    if not averages:
        return _missing('nni-wcnas evaluate RUN --corruptions')
    header = '<tr><th>corruption, %</th>' + ''.join(f'<th class="number">{escape(each.name)}</th>' for each in methods)
    lines = [_corruption_row(name.replace('_', ' '), shown, 'error_mean') for name, shown in averages.items()]
    if any(method.values('mce') for method in methods):
        lines.append(_corruption_row('mCE, 1 is AlexNet\'s', methods, 'mce'))
    if any(method.values('relative_mce') for method in methods):
        lines.append(_corruption_row('relative mCE, 1 is AlexNet\'s', methods, 'relative_mce'))
    return f'<div class="scroll"><table>\n{header}</tr>\n{"".join(lines)}</table></div>{_note(methods, averages)}'


def variant_table(methods: Sequence[Method]) -> str:
    """Write the error on each variant of ImageNet that was measured; empty without any."""
    columns = {f'error_{variant}': variant_name(variant) for variant in get_args(Variant)
               if any(method.values(f'error_{variant}') for method in methods)}
    return measure_table(methods, columns, 'nni-wcnas evaluate RUN --imagenet-a DIR') if columns else ''


def _corruption_row(name: str, methods: Sequence[Method], key: str) -> str:
    """Write a row of the table of corruptions; the lowest mean is bold."""
    best = _best(methods, key)
    cells = ''.join(f'<td class="number">{cell(method, key, best)}</td>' for method in methods)
    kind = ' class="total"' if name == 'mean' else ''
    return f'<tr{kind}><th scope="row">{escape(name)}</th>{cells}</tr>'


def measure_table(methods: Sequence[Method], columns: Mapping[str, str], command: str) -> str:
    """Write a table with a row for each method and a column for each measure.

    Parameters
    ----------
    methods
        The rows.
    columns
        Head of each column, by measure.
    command
        Command that makes what is missing; a note below the table names it where something is.
    """
    heads = ''.join(f'<th class="number">{escape(text)}{_unit(key)}</th>' for key, text in columns.items())
    # A smaller or faster network is not a better one by itself.
    bests = {key: None if key in _NO_BEST else _best(methods, key) for key in columns}
    lines = []
    for method in methods:
        cells = ''.join(f'<td class="number">{cell(method, key, bests[key])}</td>' for key in columns)
        seeds = len(method.records)
        lines.append(f'<tr><th scope="row">{escape(method.name)} <span class="sd">{seeds} '
                     f'seed{"s" * (seeds > 1)}</span></th>{cells}</tr>')
    # A mean over some of a method's seeds looks like one over all, so the note says that it may be.
    missing = any(len(method.values(key)) < len(method.records) for method in methods for key in columns)
    note = f'<p class="soft">{DASH}, or fewer seeds than the row says: not measured; get it with ' \
           f'<code>{escape(command)}</code>.</p>' if missing else ''
    return f'<div class="scroll"><table>\n<tr><th>method</th>{heads}</tr>\n{"".join(lines)}</table></div>{note}'


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


def _note(methods: Sequence[Method], averages: Mapping[str, Sequence[Method]]) -> str:
    """Write the note below the table of corruptions where a network lacks some severities; else empty."""
    missing = any(len(one.values('error_mean')) < len(whole.records)
                  for shown in averages.values() for one, whole in zip(shown, methods, strict=True))
    return _missing('nni-wcnas evaluate RUN --corruptions', f'{DASH}: not measured in all severities of the others; '
                    'get it with') if missing else ''


def _missing(command: str, before: str = 'Not measured yet; get it with') -> str:
    """Write a note that names the command which makes what is missing."""
    return f'<p class="soft">{before} <code>{escape(command)}</code>.</p>'
