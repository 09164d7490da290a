"""The page that compares methods: one HTML file that opens offline, made from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from markupsafe import Markup

from nni_wcnas.compare.method import Method, group_records
from nni_wcnas.compare.number import scale_of
from nni_wcnas.compare.picture import architectures, cells, hardest_images
from nni_wcnas.compare.search_course import search_course
from nni_wcnas.compare.seeds import seeds_note
from nni_wcnas.compare.significance import compare, conclusion, significance_table
from nni_wcnas.compare.table import (
    attack_table,
    corruption_rows,
    corruption_table,
    cost_table,
    error_table,
    variant_table,
    worst_case_table,
)
from nni_wcnas.compare.training_differences import training_differences
from nni_wcnas.compare.view import shortcut_note, view_of, views_note
from nni_wcnas.files.record import Record
from nni_wcnas.measure.corruption import BENCHMARK
from nni_wcnas.page.chart import Point, charts, dots, lines
from nni_wcnas.page.template import Cell, Section, note, page, table

__all__ = ['comparison_page', 'verdict']

_WORST = ('error_worst_', 'loss_cvar', 'ece', 'brier')
"""How the names of the measures of the worst case begin."""


def comparison_page(records: Sequence[Record], title: str = 'Comparison', *, trials: Sequence[Section] = (),
                    subtitle: str = '') -> str:
    """Write the HTML page that compares the methods of some records.

    Parameters
    ----------
    records
        At least one record; those of one method are averaged over their seeds.
    title
        Heading of the page, plain text.
    trials
        Sections about the trials that made the records, which follow the errors; see
        :func:`nni_wcnas.compare.trial.trial_sections`.
    subtitle
        Text before the number of methods and networks, such as the experiment's id.

    Returns
    -------
    str
        A whole HTML document without scripts, which asks no host for anything.

    Raises
    ------
    ComparisonError
        If the records cannot be compared.
    """
    # First of all: it refuses records that do not compare.
    methods, share = group_records(records), _share(records)
    # All tests of the page are one family for Holm's correction, so they are made together.
    comparisons = compare(methods)
    seeds = seeds_note([(method.name, method.records) for method in methods])
    errors, *others = _measured(methods, share)
    sections = [
        training_differences(methods), errors, *trials, *others,
        Section('Significance', significance_table(comparisons), 'Double-sided t-tests of every pair, by seed (paired) '
                "where both have the same seeds of search and retraining, else Welch's; the difference is that of the "
                "means. Holm's correction is over the whole table; * is below 0.05 after it. One sample: the paper's "
                "test of the method's seeds against the other's mean, which ignores how that one varies; no verdict "
                'rests on it.'),
        Section('How the searches went', search_course(methods)),
        Section('Found cells', cells(architectures(methods))),
        _hardest(methods),
        Section('Not measured', _unmeasured(methods)),
        Section('Records', _records(methods)),
    ]
    return page(title, sections, subtitle=f'{subtitle}{_subtitle(methods)}',
                verdict=conclusion(methods, comparisons, share),
                remarks=[seeds, *filter(None, [shortcut_note(methods), views_note(methods)])])


def verdict(records: Sequence[Record]) -> str:
    """Return the conclusion that the page begins with, as plain text.

    Raises
    ------
    ComparisonError
        If the records cannot be compared.
    """
    methods = group_records(records)
    return conclusion(methods, compare(methods), _share(records))


def _share(records: Sequence[Record]) -> float:
    """Return the share of the test images that count as the hardest; records that compare have the same one."""
    return next((each.measured_with['test']['share'] for each in records if 'test' in each.measured_with), 0.1)


def _measured(methods: Sequence[Method], share: float) -> list[Section]:
    """Make the sections of the measures; groups of measures that no record has are left out."""
    sections = [
        Section('Error on the test images', error_table(methods, share) + _error_plots(methods), 'Share of wrong '
                'predictions, %, mean ± standard deviation over the seeds; the lowest mean is bold, which alone means '
                'nothing.'),
        Section('Size and cost', cost_table(methods), 'Parameters without the auxiliary tower; multiply-adds of one '
                'image; the search on the machine that it ran on.'),
    ]
    if _has(methods, *_WORST):
        titles = {'error_worst_class': 'Worst class', 'loss_cvar': 'Worst losses', 'ece': 'Calibration'}
        sections.append(Section(
            'At its worst', worst_case_table(methods, share) + _plots(methods, titles), 'The worst losses are averaged '
            '(CVaR). Calibration errors are of 15 bins of equal mass, %; the loss is the negative log-likelihood, '
            'nats.'))
    variants = variant_table(methods)
    if corruption_rows(methods):
        sections.append(Section(
            'Under corruptions', _corruptions(methods) + variants, 'Mean over the severities measured. The mean and '
            'the curve are over the types of the published benchmark, without the four extra ones (speckle noise, '
            'Gaussian blur, spatter, saturate).'))
    elif variants:
        sections.append(Section('Variants of ImageNet', variants))
    if _has(methods, 'error_attack_'):
        sections.append(Section(
            'Under attack', attack_table(methods) + _attack_curve(methods), 'Share of wrong predictions, %, when each '
            'image is attacked through the network.'))
    return sections


def _has(methods: Sequence[Method], *starts: str) -> bool:
    """Tell whether any record has a measure whose name begins in one of some ways."""
    return any(key.startswith(starts) for method in methods for record in method.records for key in record.measures)


def _unmeasured(methods: Sequence[Method]) -> Markup:
    """Name the groups of measures that no record has, each with the command that measures it; empty without any."""
    groups = {
        'What the networks do at their worst': (_has(methods, *_WORST), ''),
        'Errors under corruptions': (bool(corruption_rows(methods)), ' --corruptions'),
        'Errors under attack': (_has(methods, 'error_attack_'), ' --attacks fgsm,pgd_10,pgd_20,pgd_100,cw_l2'),
        'Answers to the hardest images': (any(record.hardest for method in methods for record in method.records), ''),
    }
    lines = [note(f'{name}:', f'nni-wcnas evaluate RUN{options}')
             for name, (is_known, options) in groups.items() if not is_known]
    return Markup('').join(lines)


def _hardest(methods: Sequence[Method]) -> Section:
    """Make the section of the hardest images; empty where no record holds any."""
    body = hardest_images(methods)
    remark = ('The same test images for all; each network with its seeds (of the search / of the retraining), class '
              'and confidence.')
    return Section('Hardest images', body, remark if body else '')


def _subtitle(methods: Sequence[Method]) -> str:
    """Say how many methods and networks are compared, on which data."""
    records = [record for method in methods for record in method.records]
    images = next((f', {record.measures["examples"]:,.0f} test images' for record in records
                   if 'examples' in record.measures), '')
    return (f'{len(methods)} method{"s" * (len(methods) > 1)}, {len(records)} network{"s" * (len(records) > 1)} on '
            f'{records[0].data}{images}')


def _point(method: Method, measure: str, x: float = 0.0) -> Point | None:
    """Return a measure over a method's seeds as a point, in the reader's unit; None where nothing was measured."""
    mean, deviation, factor = method.mean(measure), method.deviation(measure), scale_of(measure)[0]
    if mean is None:
        return None
    values = tuple(value * factor for value in method.values(measure))
    return Point(x, mean * factor, None if deviation is None else deviation * factor, values)


def _worst_group(methods: Sequence[Method]) -> dict[str, str]:
    """Return the title of the worst group's plot by its measure; empty where no test images fall into groups."""
    return {'error_worst_group': 'Worst group'} if any(method.values('error_worst_group') for method in methods) else {}


def _plots(methods: Sequence[Method], titles: dict[str, str]) -> Markup:
    """Draw one plot for each measure, with one row for each method."""
    figures = []
    for measure, title in titles.items():
        rows = [(method.name, point) for method in methods if (point := _point(method, measure))]
        figures.append(dots(title, rows, unit=scale_of(measure)[1] or 'nats'))
    return charts(figures)


def _error_plots(methods: Sequence[Method]) -> Markup:
    """Draw the errors on the worst group if there are groups, on the hardest images, on the rest and on all."""
    return _plots(methods, {**_worst_group(methods), 'error_hard': 'Hardest images', 'error_rest': 'The rest',
                            'error': 'All images'})


def _averaged(method: Method, keys: Sequence[str]) -> Method:
    """Return the method with records whose only measure is ``error_mean``, the mean of the measures ``keys``.

    A record that lacks one of them has no measure: a mean over fewer corruptions would look better or worse than it is.
    """
    records = []
    for record in method.records:
        known = all(key in record.measures for key in keys)
        mean = {'error_mean': fmean(record.measures[key] for key in keys)} if known else {}
        # Seeds and names stay, so that this is a method like any other to tables and plots.
        records.append(replace(record, measures=mean))
    return Method(method.name, tuple(records))


def _corruptions(methods: Sequence[Method]) -> Markup:
    """Write the table of corruptions, and draw the error by severity, averaged over the corruptions."""
    rows = corruption_rows(methods)
    averages = {name: [_averaged(method, keys) for method in methods] for name, keys in rows.items()}
    # The published mean is over 15 corruptions; where none of them was measured, over those that were.
    averaged = [name for name in rows if name in BENCHMARK] or list(rows)
    every = [key for name in averaged for key in rows[name]]
    # A row of its own below the corruptions, in which every measured pair of type and severity counts alike.
    if len(averaged) > 1:
        averages['mean'] = [_averaged(method, every) for method in methods]
    severities = sorted({int(key[-1]) for key in every})  # A key ends in its severity, 1 to 5.
    series = {}
    for method in methods:
        by_severity = {severity: [key for key in every if key.endswith(f'_{severity}')] for severity in severities}
        points = [_point(_averaged(method, keys), 'error_mean', severity) for severity, keys in by_severity.items()]
        series[method.name] = [point for point in points if point]
    curve = lines('Error by severity', series, x_label='severity', unit='%',
                  note=f'Mean of {len(averaged)} corruptions; bars are a standard deviation over the seeds.')
    return corruption_table(methods, averages) + charts([curve])


def _attack_curve(methods: Sequence[Method]) -> Markup:
    """Draw the error under PGD by epsilon, or say how to measure it."""
    prefix = 'error_attack_pgd_20_at_'
    keys = {key for method in methods for record in method.records for key in record.measures if key.startswith(prefix)}
    # The name ends in the epsilon, of 255: sorted as numbers, since as texts 16 comes before 2.
    sizes = sorted((float(key.removeprefix(prefix)), key) for key in keys)
    series = {method.name: [point for size, key in sizes if (point := _point(method, key, size))] for method in methods}
    curve = lines('Error under PGD-20 by epsilon', series, x_label='epsilon, of 255', unit='%',
                  note='Bars are a standard deviation over the seeds.')
    return charts([curve]) or note('No curve over epsilon yet; get it with',
                                   'nni-wcnas evaluate RUN --attack-epsilons 0,1,2,4,8')


def _records(methods: Sequence[Method]) -> Markup:
    """Make the table of the records: run, seeds, what it sees, training, commit and weights of each network."""
    has_views = bool(views_note(methods))
    rows: list[list[Cell | str]] = []
    for method in methods:
        for record in method.records:
            torch = record.versions.get('torch', '?')
            recipe = record.settings.get('retrain', {})
            size = ', '.join(f'{recipe[key]} {key}' for key in ('epochs', 'cells', 'channels') if key in recipe)
            rows.append([record.name, method.name, '–' if record.seed is None else str(record.seed),
                         str(record.retraining_seed), *([view_of(record) or '–'] if has_views else []), size,
                         (record.commit or '–')[:10], torch, Cell(record.checkpoint[:10] or '–', kind='code')])
    heads = ('run', 'method', 'search seed', 'retraining seed', *(['sees'] if has_views else []), 'retrained',
             'commit at evaluation', 'torch', 'weights')
    return table(heads, rows, frozenset({2, 3}))
