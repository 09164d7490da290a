"""The report of one run, and the comparison of several: HTML pages that need nothing but themselves."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nni_wcnas.atomic import write_atomically
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.measure.truth import Standing
from nni_wcnas.page.curves import Chart, draw_chart
from nni_wcnas.page.html import escape, image_source, page, table

__all__ = ['CHARTS', 'RETRAINING_CHARTS', 'write_comparison', 'write_report']

CHARTS = (
    Chart('Loss of the architecture A', {'loss_A': 'A'}, 'What A descends.'),
    Chart('Loss of the tester B', {'loss_B': 'B'}, 'What B ascends.'),
    Chart('Loss of the weights W', {'loss_W': 'W'}, 'Supernet, training examples.'),
    Chart('Loss of the generator G', {'loss_G': 'G'}),
    Chart('Loss of the discriminator S', {'loss_S': 'S'}),
    Chart('Loss of the auxiliary model V', {'loss_V': 'V'}, 'On generated images: low means that they are meaningful.'),
    Chart('Accuracy of the supernet', {'val_accuracy': 'all', 'val_accuracy_hard': 'hardest tenth'},
          'Validation examples.', percent=True),
    Chart('Entropy of A', {'entropy': 'entropy'}, 'Low means that the architecture has decided.'),
    Chart('Skip connections', {'skips': 'skips'}, 'In the cells that would be read off after the epoch.'),
    Chart('Reference error on generated images', {'reference_error': 'all', 'reference_error_worst': 'worst class'},
          'Of a classifier that the search never sees: high means hard images, or meaningless ones.', percent=True),
    Chart('Inception score of generated images', {'inception_score': 'score'},
          'High means that each is surely of some class, and that all classes are there.'),
    Chart('FID of generated images', {'fid': 'FID'}, 'Distance of their features from those of real images.'),
    Chart('Error of the auxiliary model V', {'auxiliary_error': 'generated', 'auxiliary_real_error': 'real'},
          'On generated images, and on real validation images.', percent=True),
    Chart('Learning rate', {'lr': 'lr'}),
)
"""The curves of a search; those of B and of true values follow them. A new column needs one entry here."""

RETRAINING_CHARTS = (
    Chart('Training loss', {'loss': 'loss'}, 'Augmented training examples, drop path on; without the auxiliary tower.'),
    Chart('Training accuracy', {'accuracy': 'accuracy'}, 'Of the same examples.', percent=True),
    Chart('Learning rate', {'lr': 'lr'}),
    Chart('Drop path', {'drop_path': 'drop path'}, 'Chance of dropping a path.'),
)
"""The curves of a retraining, in their order on the page."""

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
# Columns of a comparison beside the number of parameters; each is better where it is lower.
_COMPARED = (
    'error', 'error_hard', 'error_rest', 'loss', 'macs', 'search_seconds', 'pretraining_seconds', 'search_memory'
)


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
    write_atomically(run.report, page(title, '\n'.join((f'<h1>{escape(title)}</h1>', *sections))))
    return run.report


def write_comparison(path: str | os.PathLike[str], runs: Sequence[RunDirectory | str | os.PathLike[str]],
                     methods: Mapping[str, str] | None = None, title: str = 'Comparison') -> Path:
    """Write a page that ranks the runs of one experiment, best on the hardest examples first.

    Parameters
    ----------
    path
        The page to write.
    runs
        Runs with a ``measures.json``; a run without one comes last.
    methods
        Method of each run, by the name of its folder; by default the run's setting ``method``.
    title
        Title of the page.

    Returns
    -------
    pathlib.Path
        The page.
    """
    path = Path(path)
    directories = [run if isinstance(run, RunDirectory) else RunDirectory(run) for run in runs]
    results = [(run, run.read_measures()) for run in directories]
    # False sorts before True: runs without measures come last. An error is at most 1, so 2 stands for a missing one.
    results.sort(key=lambda result: (not result[1], result[1].get('error_hard', 2.0), result[1].get('error', 2.0)))
    columns = [key for key in ('parameters', *_COMPARED) if any(key in measures for _, measures in results)]
    best = {key: min(measures[key] for _, measures in results if key in measures) for key in columns}
    rows = []
    for run, measures in results:
        # The caller knows a trial's method by its proposal; its settings name the preset and all arguments.
        method = (methods or {}).get(run.path.resolve().name) or run.read_settings().get('method', '–')
        cells = [_emphasised(key, measures.get(key), best[key]) for key in columns]
        rows.append([_link(run, path), escape(method), *cells])
    header = ['Trial', 'Method', *(_label(key) for key in columns)]
    body = table(header, rows, frozenset(range(2, len(header))))
    note = '<p class="soft">Best on the hardest examples first; the best of each column is bold.</p>'
    write_atomically(path, page(title, f'<h1>{escape(title)}</h1>\n{note}\n{body}'))
    return path


def _cells(run: RunDirectory) -> str:
    """Write the section with the drawings of the found cells."""
    figures = []
    for name, caption in _CAPTIONS.items():
        if run.cell(name).exists():
            figures.append(f'<figure class="wide"><img src="{image_source(run.cell(name))}" alt="{caption}: '
                           f'{escape(_spoken(run, name))}"><figcaption>{caption}</figcaption></figure>')
    body = '\n'.join(figures) or _note('There is no drawing of cells in this run.')
    return f'<h2>Found architecture</h2>\n{_view(run)}{body}'


def _view(run: RunDirectory) -> str:
    """Say what the network sees of its images; empty where the space leaves no choice."""
    architecture = run.read_architecture()
    if architecture is None or architecture.view is None:
        return ''
    return f'<p>Of its images the network sees: <strong>{escape(architecture.view)}</strong>.</p>\n'


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


def _truth(run: RunDirectory) -> str:
    """Write what a table of true values says of the last epoch's architecture; empty where the search had no table."""
    # The table itself is not read again: value and rank stand in the last row, the size of the table in the settings.
    monitoring, rows = run.read_settings().get('monitoring') or {}, run.read_history()
    # Percentiles follow from the rank and the number of architectures.
    count, last = int(monitoring.get('true_architectures', 0)), rows[-1] if rows else {}
    found = {name: Standing(last[f'true_{name}'], int(last[f'true_{name}_rank']), count)
             for name in monitoring.get('true_columns', ()) if f'true_{name}' in last}
    if not found:
        return ''
    cells = [[escape(name), f'{standing.value:.6g}', f'{standing.rank:,}', f'{standing.percentile:.2f}']
             for name, standing in found.items()]
    note = _note('Looked up in a table of all architectures, which the search never used; rank 1 is the highest value.')
    body = table(('', 'Value', f'Rank of {count:,}', 'Percentile'), cells, frozenset({1, 2, 3}))
    return f'<h2>True values</h2>\n{note}\n{body}'


def _measures(measures: Mapping[str, float]) -> str:
    """Write the table of final measures."""
    rows = [[escape(_label(key)), _formatted(key, value)] for key, value in measures.items()]
    body = table((), rows, frozenset({1})) if rows else _note('The network has not been measured yet.')
    return f'<h2>Measures</h2>\n{body}'


def _label(key: str) -> str:
    """Return the name of a measure for the reader."""
    for suffix, words in _SUFFIXES.items():
        if key.endswith(suffix):
            return _label(key.removesuffix(suffix)) + words  # error_hard: "Error, hardest examples".
    return _LABELS.get(key) or key.replace('_', ' ').capitalize()


def _curves(run: RunDirectory) -> str:
    """Draw all charts that have values, and name the columns that have none."""
    rows = run.read_history()
    figures, missing = [], []
    # Only a retraining's rows have the chance of dropping a path.
    for chart in RETRAINING_CHARTS if any('drop_path' in row for row in rows) else _search_charts(run):
        missing += [column for column in chart.columns if not any(column in row for row in rows)]
        figures.append(draw_chart(chart, rows) or '')
    note = _note(f'Left out, as metrics.csv has no values of them: {", ".join(missing)}.') if missing else ''
    return f'<h2>Curves by epoch</h2>\n<div class="grid">{"".join(figures)}</div>\n{note}'


def _search_charts(run: RunDirectory) -> Iterator[Chart]:
    """Yield the charts of a search: those of every search, one for each of B's values, one for each true value.

    The names of B's values are the tester's, those of true values the columns of a table; the run's settings list both
    under ``monitoring``. Charts on generated images say who judges these.
    """
    monitoring = run.read_settings().get('monitoring') or {}
    # A search whose images were not judged has no extractor in its settings.
    judged = _judged(monitoring) if 'extractor' in monitoring else {}
    for chart in CHARTS:
        remark = next((judged[column] for column in chart.columns if column in judged), '')
        yield replace(chart, note=f'{chart.note} {remark}'.strip())
    for name in monitoring.get('hyperparameters', ()):
        yield Chart(f'B: {name}'.replace('_', ' '), {name: name}, 'Of the tester; epoch 0 is before the search.')
    for name in monitoring.get('true_columns', ()):
        yield Chart(f'True value: {name}'.replace('_', ' '), {f'true_{name}': name},
                    'Looked up for the architecture that would be exported after the epoch.')


def _judged(monitoring: Mapping[str, Any]) -> dict[str, str]:
    """Return remarks by column of ``metrics.csv``: who judges generated images, and what the numbers compare with."""
    nets, comparable = '{classifiers} nets of {extractor}', 'within one data set and extractor, not with Inception-v3'
    # Braces that are doubled in the f-strings are filled in below, like those of the plain strings.
    remarks = {
        'reference_error': f'By the {nets}, on {{generated_images}} images.',
        'inception_score': f'By the {nets}, on {{generated_images}} images; real ones: {{real_inception_score}}. '
                           f'Comparable {comparable}.',
        'fid': '{fid_features} features of the first net of {extractor}, {generated_images} generated and '
               f'{{real_images}} real images; other real ones: {{real_fid}}. Comparable {comparable}.',
        'auxiliary_error': '{generated_images} and {auxiliary_real_images} of them.',
    }
    # Filled in afterwards, with '?' for what an earlier release did not write down.
    known = defaultdict(lambda: '?', monitoring)
    return {column: remark.format_map(known) for column, remark in remarks.items()}


def _generated(run: RunDirectory) -> str:
    """Show grids of generated images, evenly spread over the epochs, the first and the last among them."""
    grids = list(run.generated().items())
    if not grids:
        return ''
    count = min(len(grids), _MAX_GRIDS)
    shown = [grids[place * (len(grids) - 1) // max(count - 1, 1)] for place in range(count)]
    figures = ''.join(f'<figure><img src="{image_source(path)}" alt="Generated images after epoch {epoch}, a row for '
                      f'each class"><figcaption>Epoch {epoch}</figcaption></figure>' for epoch, path in shown)
    note = _note(f'{count} of {len(grids)} epochs; a row for each class.')
    return f'<h2>Generated images</h2>\n{note}\n<div class="grid tiles">{figures}</div>{_generated_measures(run)}'


def _generated_measures(run: RunDirectory) -> str:
    """Write what ``nni-wcnas images`` has measured, with a column for each feature extractor."""
    every = run.read_generated_measures()
    if not every:
        return ''
    names = dict.fromkeys(name for measures in every.values() for name in measures if name != 'extractor')
    cells = [[escape(_label(name)), *(_number(measures.get(name)) for measures in every.values())] for name in names]
    note = _note('Compare only what has the same extractor and numbers of images.')
    return note + table(('by', *every), cells, frozenset(range(1, len(every) + 1)))


def _number(value: Any) -> str:
    """Write a number in four digits, anything else as a dash."""
    return f'{value:,.4g}' if isinstance(value, (int, float)) else '–'


def _settings(run: RunDirectory) -> str:
    """Write the table of all settings, one on each line."""
    rows = [[f'<code>{escape(key)}</code>', escape(value)] for key, value in _flat(run.read_settings())]
    return '<h2>Settings</h2>\n' + (table((), rows) if rows else _note('This run has no settings.yml.'))


def _flat(settings: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Yield nested settings as pairs of a dotted key and a value; an empty map is a value."""
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def _formatted(key: str, value: float) -> str:
    """Write a measure: errors and accuracies in per cent, large numbers with k, M or G."""
    if key.startswith(('accuracy', 'error')):
        return f'{100 * value:.2f} %'
    if key == 'examples':
        return f'{value:,.0f}'
    for size, name in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):  # The largest unit that the value reaches.
        if value >= size:
            return f'{value / size:.4g} {name}'
    return f'{value:.4g}'


def _emphasised(key: str, value: float | None, best: float) -> str:
    """Write a measure, bold where it equals the best; a dash where there is none."""
    if value is None:
        return '–'
    return f'<strong>{_formatted(key, value)}</strong>' if value == best else _formatted(key, value)


def _link(run: RunDirectory, page_path: Path) -> str:
    """Write the name of a trial, linked to its report if there is one."""
    name = escape(run.path.resolve().name)
    if not run.report.exists():
        return name
    # Relative to the page, so that the folder of an experiment can be moved as a whole.
    return f'<a href="{quote(os.path.relpath(run.report, page_path.parent))}">{name}</a>'


def _note(text: str) -> str:
    """Write a remark, given as plain text."""
    return f'<p class="soft">{escape(text)}</p>'
