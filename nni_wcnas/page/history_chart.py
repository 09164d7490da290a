"""The charts of a run: which columns of ``metrics.csv`` are drawn over the epochs, of a search and of a retraining."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.page.chart import Point, lines

__all__ = ['CHARTS', 'RETRAINING_CHARTS', 'Chart', 'draw_chart', 'history_points', 'search_charts']


@dataclass(frozen=True)
class Chart:
    """What one chart shows: columns of ``metrics.csv`` over the epochs.

    Parameters
    ----------
    title
        Heading of the chart.
    columns
        Label of each column, by column name.
    note
        Remark on how to read it.
    percent
        Whether the values are shares, to be shown in per cent.
    """

    title: str
    columns: Mapping[str, str]
    note: str = ''
    percent: bool = False


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


def draw_chart(chart: Chart, rows: Sequence[Mapping[str, float]]) -> Markup:
    """Draw a chart.

    Parameters
    ----------
    chart
        What to draw; columns that the rows lack are left out.
    rows
        One an epoch, with its number under ``epoch``; values that are not finite are left out.

    Returns
    -------
    Markup
        A ``<figure>``, empty if there is nothing to draw.
    """
    series = {label: history_points(rows, column, percent=chart.percent) for column, label in chart.columns.items()}
    # A single line needs no key: the heading names it.
    return lines(chart.title, series, x_label='epoch', unit='%' if chart.percent else '', note=chart.note,
                 has_key=sum(map(bool, series.values())) > 1)


def history_points(rows: Sequence[Mapping[str, float]], column: str, *, percent: bool = False) -> list[Point]:
    """Return the finite values of a column with their epochs."""
    return [Point(row.get('epoch', place), row[column] * (100 if percent else 1)) for place, row in enumerate(rows)
            if column in row and math.isfinite(row[column])]


def search_charts(run: RunDirectory) -> Iterator[Chart]:
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
