"""The trials of an experiment on its page: what was tuned, how good each was to the tuner, and how each went."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from nni_wcnas.atomic import write_atomically
from nni_wcnas.compare.picture import cells
from nni_wcnas.compare.view import explained
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.page.chart import Point, charts, dots, lines
from nni_wcnas.page.history_chart import history_points
from nni_wcnas.page.report import formatted, label
from nni_wcnas.page.template import Cell, Section, page, table

__all__ = ['Trial', 'trial_sections', 'write_trials']

_MEASURES = ('error_hard', 'error', 'parameters', 'search_seconds', 'pretraining_seconds', 'search_memory')
"""Columns of the table of trials; all are better where they are lower."""
_COURSES = {
    'val_accuracy_hard': ('Supernet, hardest validation examples', '%'), 'entropy': ('Entropy of A', ''),
    'loss_A': ('Loss of the architecture A', ''), 'skips': ('Skip connections', ''),
}
"""Columns of a search's ``metrics.csv`` that are drawn for all trials, with the titles and units of their charts."""
_MAX_LINES = 18
"""Trials that a chart shows at most: there are as many different marks."""


@dataclass(frozen=True)
class Trial:
    """One trial: its run, the method that it is a seed of, and the parameters that the tuner proposed."""

    run: RunDirectory
    method: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the trial for the reader: its method and the seed, or its folder where there was no seed."""
        seed = self.parameters.get('seed')
        return f'{self.method}, {self.run.path.name if seed is None else f"seed {seed}"}'

    @property
    def view(self) -> str:
        """What the found network sees of its images; empty where there was no choice."""
        architecture = self.run.read_architecture()
        return '' if architecture is None else architecture.view or ''


def write_trials(path: Path, trials: Sequence[Trial], title: str, subtitle: str = '') -> Path:
    """Write the page of an experiment whose networks have not met the test set.

    Parameters
    ----------
    path
        The page to write; links to the trials' reports are relative to it.
    trials
        The trials that succeeded, at least one.
    title, subtitle
        Heading of the page and what stands below.

    Returns
    -------
    pathlib.Path
        The page.
    """
    found = cells((trial.name, trial.run.read_architecture()) for trial in trials)
    sections = [*trial_sections(path, trials), Section('Found cells', found)]
    views = explained(trial.view for trial in trials)
    write_atomically(path, page(title, sections, subtitle=subtitle, remarks=[views] if views else []))
    return path


def trial_sections(path: Path, trials: Sequence[Trial]) -> list[Section]:
    """Make the sections about the trials of an experiment, best on the hardest validation examples first.

    Parameters
    ----------
    path
        The page that they are for.
    trials
        The trials that succeeded.
    """
    measured = [(trial, trial.run.read_measures()) for trial in trials]
    # In the order of the comparison, so that a method has one colour on the page.
    methods = list(dict.fromkeys(trial.method for trial in trials))
    # False sorts before True: trials without measures come last. An error is at most 1, so 2 stands for a missing one.
    measured.sort(key=lambda pair: (not pair[1], pair[1].get('error_hard', 2.0), pair[1].get('error', 2.0)))
    remark = (f'{_tuned(trials)} Measured on the validation examples, as the tuner saw them: best on the hardest '
              'first; the best of each column is bold. A trial leads to its report, with all its curves and settings.')
    return [
        Section('Trials', _table(path, measured) + charts(_plots(measured, methods)), remark),
        Section('How each trial went', charts(_courses([trial for trial, _ in measured]))),
    ]


def _tuned(trials: Sequence[Trial]) -> str:
    """Say which parameters the tuner proposed, and which values each had."""
    flat = [_flat(trial.parameters) for trial in trials]
    words = []
    for key in dict.fromkeys(key for each in flat for key in each):
        values = dict.fromkeys(each[key] for each in flat if key in each)
        words.append(f'{key} ({", ".join(sorted(values))})')
    return f'Tuned: {"; ".join(words)}.' if words else 'Nothing was tuned.'


def _flat(parameters: Mapping[str, Any], prefix: str = '') -> dict[str, str]:
    """Return proposed parameters as texts under dotted keys; the name of a nested choice stands under its own key."""
    found: dict[str, str] = {}
    for key, value in parameters.items():
        name = prefix.rstrip('.') if key == '_name' else f'{prefix}{key}'
        if isinstance(value, Mapping):
            found |= _flat(value, f'{prefix}{key}.')
        else:
            found[name] = f'{value:.4g}' if isinstance(value, float) else str(value)
    return found


def _table(path: Path, measured: Sequence[tuple[Trial, Mapping[str, float]]]) -> Markup:
    """Make the table of the trials, with a column for each parameter that differs between them."""
    proposals = [_flat(trial.parameters) for trial, _ in measured]
    keys = [key for key in dict.fromkeys(key for each in proposals for key in each)
            if len({each.get(key) for each in proposals}) > 1]
    columns = [key for key in _MEASURES if any(key in measures for _, measures in measured)]
    best = {key: _best([measures[key] for _, measures in measured if key in measures]) for key in columns}
    views = ['sees'] if any(trial.view for trial, _ in measured) else []
    rows: list[list[Cell | str]] = []
    for (trial, measures), proposal in zip(measured, proposals, strict=True):
        retraining = RunDirectory(trial.run.path / 'retraining')
        rows.append([_link(trial.run, path, trial.run.path.resolve().name), _link(retraining, path, 'retraining'),
                     *([] if keys else [trial.method]),
                     *(proposal.get(key, '–') for key in keys), *(trial.view or '–' for _ in views),
                     *(_cell(key, measures.get(key), best[key]) for key in columns)])
    # Without a parameter that differs, the method is what can be said of a trial.
    told = [*(keys or ['method']), *views]
    header = ['search', 'and then', *told, *(label(key) for key in columns)]
    first = 2 + len(told)
    return table(header, rows, frozenset(range(first, first + len(columns))))


def _best(values: Sequence[float]) -> float | None:
    """Return the least of several values; None where all are the same, of which none is the best."""
    return min(values) if len(set(values)) > 1 else None


def _cell(key: str, value: float | None, best: float | None) -> Cell:
    """Write a measure, bold where it equals the best; a dash where there is none."""
    if value is None:
        return Cell('–', kind='missing')
    return Cell(formatted(key, value), kind='strong' if value == best else 'plain')


def _link(run: RunDirectory, path: Path, text: str) -> Cell:
    """Write a text, linked to the report of a run if there is one."""
    # Relative to the page, so that the folder of an experiment can be moved as a whole.
    return Cell(text, link=quote(os.path.relpath(run.report, path.parent))) if run.report.exists() else Cell(text)


def _plots(measured: Sequence[tuple[Trial, Mapping[str, float]]], methods: Sequence[str]) -> list[Markup]:
    """Draw the errors of the methods, in their order, with a dot for each trial."""
    figures = []
    for key, title in {'error_hard': 'Hardest validation examples', 'error': 'All validation examples'}.items():
        values: dict[str, list[float]] = {method: [] for method in methods}
        for trial, measures in measured:
            if key in measures:
                values[trial.method].append(100 * measures[key])
        rows = [(name, Point(0, fmean(found), values=tuple(found))) for name, found in values.items() if found]
        figures.append(dots(title, rows, unit='%', note='A dot a trial; the mark is the mean of a method.'))
    return figures


def _courses(trials: Sequence[Trial]) -> list[Markup]:
    """Draw columns of the searches' histories and the retrainings' accuracy, a line for each trial."""
    # The best ones, as too many lines could not be told apart; equal names are told apart by the folder.
    shown = {trial.run.path.name: trial for trial in trials[:_MAX_LINES]}
    names = [trial.name for trial in shown.values()]
    searches = {trial.name if names.count(trial.name) == 1 else f'{trial.name} ({folder})': trial
                for folder, trial in shown.items()}
    note = '' if len(trials) <= _MAX_LINES else f'The best {_MAX_LINES} of {len(trials)} trials.'
    histories = {name: trial.run.read_history() for name, trial in searches.items()}
    figures = [lines(title, {name: history_points(rows, column, percent=unit == '%')
                             for name, rows in histories.items()}, x_label='epoch', unit=unit, note=note)
               for column, (title, unit) in _COURSES.items()]
    retrained = {name: RunDirectory(trial.run.path / 'retraining').read_history() for name, trial in searches.items()}
    figures.append(lines('Training accuracy of the retraining',
                         {name: history_points(rows, 'accuracy', percent=True) for name, rows in retrained.items()},
                         x_label='epoch', unit='%', note=note))
    return figures
