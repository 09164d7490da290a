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
"""The curves of a search; those of B and of true values follow. A newcomer adds one entry."""

RETRAINING_CHARTS = (
    Chart('Training loss', {'loss': 'loss'}, 'Augmented training examples, drop path on; without the auxiliary tower.'),
    Chart('Training accuracy', {'accuracy': 'accuracy'}, 'Of the same examples.', percent=True),
    Chart('Learning rate', {'lr': 'lr'}),
    Chart('Drop path', {'drop_path': 'drop path'}, 'Chance of dropping a path.'),
)
"""The curves of a retraining."""

_MAX_GRIDS = 12
_CAPTIONS = {'normal': 'Normal cell', 'reduce': 'Reduction cell', 'cell': 'Cell'}
_LABELS = {
    'macs': 'Multiply-accumulates', 'ece': 'Calibration error', 'brier': 'Brier score',
    'ece_equal_width': 'Calibration error, bins of equal width', 'loss_cvar': 'Mean of the worst losses',
    'search_seconds': 'Search, s', 'pretraining_seconds': 'Pre-training in it, s',
    'search_memory': 'Memory of the search, B', 'fid': 'FID', 'kid': 'KID',
}
"""Names that are no words."""
_SUFFIXES = {'_hard': ', hardest examples', '_rest': ', the rest'}
_COMPARED = (
    'error', 'error_hard', 'error_rest', 'loss', 'macs', 'search_seconds', 'pretraining_seconds', 'search_memory'
)


def write_report(run_directory: RunDirectory | str | os.PathLike[str], measures: Mapping[str, float] | None = None,
                 title: str | None = None) -> Path:
    """Write ``report.html`` from a run's files; what is missing is left out, and the page says so.

    Parameters
    ----------
    run_directory
        The run.
    measures
        Final measures, as :func:`nni_wcnas.measure.measures.measure` gives them; None takes those in the folder.
    title
        Of the page; the folder's name by default.

    Returns
    -------
    pathlib.Path
        The page.
    """
    run = run_directory if isinstance(run_directory, RunDirectory) else RunDirectory(run_directory)
    title = title or f'Search {run.path.resolve().name}'
    found = run.read_measures() if measures is None else measures
    sections = _cells(run), _truth(run), _measures(found), _curves(run), _generated(run), _settings(run)
    write_atomically(run.report, page(title, '\n'.join((f'<h1>{escape(title)}</h1>', *sections))))
    return run.report


def write_comparison(path: str | os.PathLike[str], runs: Sequence[RunDirectory | str | os.PathLike[str]],
                     methods: Mapping[str, str] | None = None, title: str = 'Comparison') -> Path:
    """Write a page that ranks the runs of one experiment, best on the hardest examples first.

    Parameters
    ----------
    path
        The page.
    runs
        Folders with ``measures.json``; one without comes last.
    methods
        Method of each run by the name of its folder; by default the run's setting ``method``.
    title
        Of the page.

    Returns
    -------
    pathlib.Path
        The page.
    """
    path = Path(path)
    directories = [run if isinstance(run, RunDirectory) else RunDirectory(run) for run in runs]
    results = [(run, run.read_measures()) for run in directories]
    results.sort(key=lambda result: (not result[1], result[1].get('error_hard', 2.0), result[1].get('error', 2.0)))
    columns = [key for key in ('parameters', *_COMPARED) if any(key in measures for _, measures in results)]
    best = {key: min(measures[key] for _, measures in results if key in measures) for key in columns}
    rows = []
    for run, measures in results:
        method = (methods or {}).get(run.path.resolve().name) or run.read_settings().get('method', '–')
        cells = [_emphasised(key, measures.get(key), best[key]) for key in columns]
        rows.append([_link(run, path), escape(method), *cells])
    header = ['Trial', 'Method', *(_label(key) for key in columns)]
    body = table(header, rows, frozenset(range(2, len(header))))
    note = '<p class="soft">Best on the hardest examples first; the best of each column is bold.</p>'
    write_atomically(path, page(title, f'<h1>{escape(title)}</h1>\n{note}\n{body}'))
    return path


def _cells(run: RunDirectory) -> str:
    """The drawings of the found cells."""
    figures = []
    for name, caption in _CAPTIONS.items():
        if run.cell(name).exists():
            figures.append(f'<figure class="wide"><img src="{image_source(run.cell(name))}" alt="{caption}: '
                           f'{escape(_spoken(run, name))}"><figcaption>{caption}</figcaption></figure>')
    body = '\n'.join(figures) or _note('There is no drawing of cells in this run.')
    return f'<h2>Found architecture</h2>\n{_view(run)}{body}'


def _view(run: RunDirectory) -> str:
    """What the network sees of its images, where that was a choice."""
    architecture = run.read_architecture()
    if architecture is None or architecture.view is None:
        return ''
    return f'<p>Of its images the network sees: <strong>{escape(architecture.view)}</strong>.</p>\n'


def _spoken(run: RunDirectory, name: str) -> str:
    """A cell in words, for those who cannot see it."""
    architecture = run.read_architecture()
    if architecture is None or name not in architecture.cells:
        return 'a drawing'
    inputs = ('c(k-2)', 'c(k-1)')[-architecture.num_inputs :]
    sources = (*inputs, *(f'node {node}' for node in range(architecture.num_nodes)))
    words = [' and '.join(f'{choice.operation} of {sources[choice.source]}' for choice in choices)
             for choices in architecture.cell(name)]
    return '; '.join(f'node {node} from {inputs}' for node, inputs in enumerate(words))


def _truth(run: RunDirectory) -> str:
    """What a table says of the architecture of the last epoch; nothing where the search was given none."""
    monitoring, rows = run.read_settings().get('monitoring') or {}, run.read_history()
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
    """The table of final measures."""
    rows = [[escape(_label(key)), _formatted(key, value)] for key, value in measures.items()]
    body = table((), rows, frozenset({1})) if rows else _note('The network has not been measured yet.')
    return f'<h2>Measures</h2>\n{body}'


def _label(key: str) -> str:
    """A measure for the reader."""
    for suffix, words in _SUFFIXES.items():
        if key.endswith(suffix):
            return _label(key.removesuffix(suffix)) + words
    return _LABELS.get(key) or key.replace('_', ' ').capitalize()


def _curves(run: RunDirectory) -> str:
    """All charts that have values, and what is left out."""
    rows = run.read_history()
    figures, missing = [], []
    for chart in RETRAINING_CHARTS if any('drop_path' in row for row in rows) else _search_charts(run):
        missing += [column for column in chart.columns if not any(column in row for row in rows)]
        figures.append(draw_chart(chart, rows) or '')
    note = _note(f'Left out, as metrics.csv has no values of them: {", ".join(missing)}.') if missing else ''
    return f'<h2>Curves by epoch</h2>\n<div class="grid">{"".join(figures)}</div>\n{note}'


def _search_charts(run: RunDirectory) -> Iterator[Chart]:
    """Those of every search, with who judges its images; one for each of B's values, whose names are its tester's; one
    for each column of a table of true values.
    """
    monitoring = run.read_settings().get('monitoring') or {}
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
    """Who judges generated images, and what they compare with, by column."""
    nets, comparable = '{classifiers} nets of {extractor}', 'within one data set and extractor, not with Inception-v3'
    remarks = {
        'reference_error': f'By the {nets}, on {{generated_images}} images.',
        'inception_score': f'By the {nets}, on {{generated_images}} images; real ones: {{real_inception_score}}. '
                           f'Comparable {comparable}.',
        'fid': '{fid_features} features of the first net of {extractor}, {generated_images} generated and '
               f'{{real_images}} real images; other real ones: {{real_fid}}. Comparable {comparable}.',
        'auxiliary_error': '{generated_images} and {auxiliary_real_images} of them.',
    }
    known = defaultdict(lambda: '?', monitoring)
    return {column: remark.format_map(known) for column, remark in remarks.items()}


def _generated(run: RunDirectory) -> str:
    """Grids of generated images, evenly spread over the epochs."""
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
    """What ``nni-wcnas images`` has measured, a column an extractor."""
    every = run.read_generated_measures()
    if not every:
        return ''
    names = dict.fromkeys(name for measures in every.values() for name in measures if name != 'extractor')
    cells = [[escape(_label(name)), *(_number(measures.get(name)) for measures in every.values())] for name in names]
    note = _note('Compare only what has the same extractor and numbers of images.')
    return note + table(('by', *every), cells, frozenset(range(1, len(every) + 1)))


def _number(value: Any) -> str:
    """As it is, in few digits."""
    return f'{value:,.4g}' if isinstance(value, (int, float)) else '–'


def _settings(run: RunDirectory) -> str:
    """All settings, one a line."""
    rows = [[f'<code>{escape(key)}</code>', escape(value)] for key, value in _flat(run.read_settings())]
    return '<h2>Settings</h2>\n' + (table((), rows) if rows else _note('This run has no settings.yml.'))


def _flat(settings: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Nested settings with dotted names."""
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def _formatted(key: str, value: float) -> str:
    """A measure with its unit."""
    if key.startswith(('accuracy', 'error')):
        return f'{100 * value:.2f} %'
    if key == 'examples':
        return f'{value:,.0f}'
    for size, name in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if value >= size:
            return f'{value / size:.4g} {name}'
    return f'{value:.4g}'


def _emphasised(key: str, value: float | None, best: float) -> str:
    """A measure, bold where it is the best."""
    if value is None:
        return '–'
    return f'<strong>{_formatted(key, value)}</strong>' if value == best else _formatted(key, value)


def _link(run: RunDirectory, page_path: Path) -> str:
    """The trial's name, linked to its report if there is one."""
    name = escape(run.path.resolve().name)
    if not run.report.exists():
        return name
    return f'<a href="{quote(os.path.relpath(run.report, page_path.parent))}">{name}</a>'


def _note(text: str) -> str:
    """A remark."""
    return f'<p class="soft">{escape(text)}</p>'
