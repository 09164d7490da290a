"""The report of one run: an HTML page that needs nothing but itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from nni_wcnas.atomic import write_atomically
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.measure.truth import Standing
from nni_wcnas.page.chart import charts
from nni_wcnas.page.history_chart import RETRAINING_CHARTS, draw_chart, search_charts
from nni_wcnas.page.template import Cell, Section, note, page, picture, render, table
from nni_wcnas.spaces.views import VIEW_NOTES

__all__ = ['formatted', 'label', 'write_report']

_MAX_GRIDS = 12
"""Grids of generated images that a report shows at most."""
_CAPTIONS = {'normal': 'Normal cell', 'reduce': 'Reduction cell', 'cell': 'Cell'}
_LABELS = {
    'macs': 'Multiply-accumulates', 'ece': 'Calibration error', 'brier': 'Brier score',
    'ece_equal_width': 'Calibration error, bins of equal width', 'loss_cvar': 'Mean of the worst losses',
    'search_seconds': 'Search, s', 'pretraining_seconds': 'Pre-training in it, s',
    'search_memory': 'Memory of the search, B', 'fid': 'FID', 'kid': 'KID',
}
"""Names of measures for the reader, where the measure's own name does not say it in words."""
_SUFFIXES = {'_hard': ', hardest examples', '_rest': ', the rest'}
"""Words for the ends of measures' names that say on which examples they were measured."""


def write_report(run_directory: RunDirectory | str | os.PathLike[str], measures: Mapping[str, float] | None = None,
                 title: str | None = None) -> Path:
    """Write ``report.html`` from the files of a run; what is missing is left out, and the page says so.

    Parameters
    ----------
    run_directory
        The run, or the path of its folder.
    measures
        Final measures, as :func:`nni_wcnas.measure.measures.measure` gives them; None takes those of ``measures.json``.
    title
        Title of the page; the folder's name by default.

    Returns
    -------
    pathlib.Path
        Path of the page.
    """
    run = run_directory if isinstance(run_directory, RunDirectory) else RunDirectory(run_directory)
    title = title or f'Search {run.path.resolve().name}'
    found = run.read_measures() if measures is None else measures
    # In the order in which a reader asks: what was found, how good it is, how it came about, what was told.
    sections = _cells(run), _truth(run), _measures(found), _curves(run), _generated(run), _settings(run)
    write_atomically(run.report, page(title, sections))
    return run.report


def _cells(run: RunDirectory) -> Section:
    """Make the section with the drawings of the found cells."""
    pictures = [picture(run.cell(name), f'{caption}: {_spoken(run, name)}', caption)
                for name, caption in _CAPTIONS.items() if run.cell(name).exists()]
    body = render('pictures', pictures=pictures, layout='wide') if pictures else note(
        'There is no drawing of cells in this run.')
    return Section('Found architecture', body, _view(run))


def _view(run: RunDirectory) -> str:
    """Say what the network sees of its images; empty where the space leaves no choice."""
    architecture = run.read_architecture()
    if architecture is None or architecture.view is None:
        return ''
    return f'Of its images the network sees: {architecture.view} ({VIEW_NOTES[architecture.view]}).'


def _spoken(run: RunDirectory, name: str) -> str:
    """Describe a cell in words, for readers who cannot see its drawing."""
    architecture = run.read_architecture()
    if architecture is None or name not in architecture.cells:
        return 'a drawing'
    # States count the inputs first: state 0 is c(k-2), in a cell of one input c(k-1).
    inputs = ('c(k-2)', 'c(k-1)')[-architecture.num_inputs :]
    sources = (*inputs, *(f'node {node}' for node in range(architecture.num_nodes)))
    words = [' and '.join(f'{choice.operation} of {sources[choice.source]}' for choice in choices)
             for choices in architecture.cell(name)]
    return '; '.join(f'node {node} from {inputs}' for node, inputs in enumerate(words))


def _truth(run: RunDirectory) -> Section:
    """Write what a table of true values says of the last epoch's architecture; empty where the search had no table."""
    # The table itself is not read again: value and rank stand in the last row, the size of the table in the settings.
    monitoring, rows = run.read_settings().get('monitoring') or {}, run.read_history()
    # Percentiles follow from the rank and the number of architectures.
    count, last = int(monitoring.get('true_architectures', 0)), rows[-1] if rows else {}
    found = {name: Standing(last[f'true_{name}'], int(last[f'true_{name}_rank']), count)
             for name in monitoring.get('true_columns', ()) if f'true_{name}' in last}
    cells = [[name, f'{standing.value:.6g}', f'{standing.rank:,}', f'{standing.percentile:.2f}']
             for name, standing in found.items()]
    remark = 'Looked up in a table of all architectures, which the search never used; rank 1 is the highest value.'
    body = table(('', 'Value', f'Rank of {count:,}', 'Percentile'), cells, frozenset({1, 2, 3}))
    return Section('True values', body, remark) if found else Section('True values', Markup(''))


def _measures(measures: Mapping[str, float]) -> Section:
    """Make the table of final measures."""
    rows = [[label(key), formatted(key, value)] for key, value in measures.items()]
    body = table((), rows, frozenset({1})) if rows else note('The network has not been measured yet.')
    return Section('Measures', body)


def label(key: str) -> str:
    """Return the name of a measure for the reader."""
    for suffix, words in _SUFFIXES.items():
        if key.endswith(suffix):
            return label(key.removesuffix(suffix)) + words  # error_hard: "Error, hardest examples".
    return _LABELS.get(key) or key.replace('_', ' ').capitalize()


def _curves(run: RunDirectory) -> Section:
    """Draw all charts that have values, and name the columns that have none."""
    rows = run.read_history()
    figures, missing = [], []
    # Only a retraining's rows have the chance of dropping a path.
    for chart in RETRAINING_CHARTS if any('drop_path' in row for row in rows) else search_charts(run):
        missing += [column for column in chart.columns if not any(column in row for row in rows)]
        figures.append(draw_chart(chart, rows))
    remark = note(f'Left out, as metrics.csv has no values of them: {", ".join(missing)}.') if missing else Markup('')
    return Section('Curves by epoch', charts(figures) + remark)


def _generated(run: RunDirectory) -> Section:
    """Show grids of generated images, evenly spread over the epochs, the first and the last among them."""
    grids = list(run.generated().items())
    count = min(len(grids), _MAX_GRIDS)
    shown = [grids[place * (len(grids) - 1) // max(count - 1, 1)] for place in range(count)]
    if not shown:
        return Section('Generated images', Markup(''))
    pictures = [picture(path, f'Generated images after epoch {epoch}, a row for each class', f'Epoch {epoch}')
                for epoch, path in shown]
    body = render('pictures', pictures=pictures, layout='grid tiles') + _generated_measures(run)
    return Section('Generated images', body, f'{count} of {len(grids)} epochs; a row for each class.')


def _generated_measures(run: RunDirectory) -> Markup:
    """Write what ``nni-wcnas images`` has measured, with a column for each feature extractor."""
    every = run.read_generated_measures()
    if not every:
        return Markup('')
    names = dict.fromkeys(name for measures in every.values() for name in measures if name != 'extractor')
    cells = [[label(name), *(_number(measures.get(name)) for measures in every.values())] for name in names]
    remark = note('Compare only what has the same extractor and numbers of images.')
    return remark + table(('by', *every), cells, frozenset(range(1, len(every) + 1)))


def _number(value: Any) -> str:
    """Write a number in four digits, anything else as a dash."""
    return f'{value:,.4g}' if isinstance(value, (int, float)) else '–'


def _settings(run: RunDirectory) -> Section:
    """Make the table of all settings, one on each line."""
    rows: list[list[Cell | str]] = [[Cell(key, kind='code'), str(value)] for key, value in _flat(run.read_settings())]
    return Section('Settings', table((), rows) if rows else note('This run has no settings.yml.'))


def _flat(settings: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Yield nested settings as pairs of a dotted key and a value; an empty map is a value."""
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def formatted(key: str, value: float) -> str:
    """Write a measure: errors and accuracies in per cent, large numbers with k, M or G."""
    if key.startswith(('accuracy', 'error')):
        return f'{100 * value:.2f} %'
    if key == 'examples':
        return f'{value:,.0f}'
    for size, name in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):  # The largest unit that the value reaches.
        if value >= size:
            return f'{value / size:.4g} {name}'
    return f'{value:.4g}'
