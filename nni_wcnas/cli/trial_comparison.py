"""The end of an experiment: its networks are measured on the test set, shown side by side, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nni_wcnas.cli.compare import Compared, compare_runs
from nni_wcnas.cli.display import TrialState
from nni_wcnas.cli.evaluate import evaluate_run
from nni_wcnas.compare.trial import Trial
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.settings.problems import CommandError

__all__ = ['as_trial', 'compare_trials']

_COLUMNS = {
    'error_worst_group': 'worst group', 'error_hard': 'hardest', 'error': 'all', 'error_worst_class': 'worst class',
}
"""Columns of the table and their heads: errors on the test set, shown as far as they are known."""


def compare_trials(
    folder: Path, trials: Sequence[TrialState], *, title: str, cpu: bool = False
) -> Compared | None:
    """Measure the retrained networks of an experiment on the test set, print them, and compare the methods.

    The tuner never sees these measures: all trials are over by now. Trials that differ in their seed alone are those of
    one method.

    Parameters
    ----------
    folder
        Folder of the experiment, with one sub-folder for each trial.
    trials
        The trials that succeeded, at least one.
    title
        Title of the experiment's page, to which the comparison is added.
    cpu
        Whether to use no GPU.

    Returns
    -------
    Compared or None
        None where nothing can be measured this way, as in spaces without cells, or compared, as on several data sets; a
        sentence on the console says why.
    """
    console = Console()
    try:
        # Quiet, as one table of all networks follows.
        measures = {trial.name: evaluate_run(folder / trial.name, cpu=cpu, quiet=True) for trial in trials}
        console.print(_table(folder, trials, measures))
        runs = {str(folder / trial.name): trial.group for trial in trials}
        # The proposal without its seed is the method: two values of a proposed number are two methods.
        names = [f'{run}={group}' for run, group in runs.items()]
        return compare_runs(list(runs), folder, names=names, title=title, subtitle=f'Experiment {folder.name}: ',
                            page='report.html', trials=[as_trial(folder, trial) for trial in trials])
    except CommandError as error:
        console.print(f'The networks are not compared on the test set: {error}', highlight=False, soft_wrap=True)
        return None


def as_trial(folder: Path, state: TrialState) -> Trial:
    """Return what the experiment's page says of a trial in the folder of an experiment."""
    return Trial(RunDirectory(folder / state.name), state.group, state.parameters)


def _table(folder: Path, trials: Sequence[TrialState], measures: Mapping[str, Mapping[str, float]]) -> Table:
    """Make a table with a row for each network, those of one method together."""
    columns = {key: title for key, title in _COLUMNS.items() if any(key in row for row in measures.values())}
    views = {trial.name: _view(folder / trial.name) for trial in trials}
    seen = ['sees'] if any(views.values()) else []
    table = Table('method and proposal', *seen, *columns.values(), title='Error on the test set')
    for trial in sorted(trials, key=lambda trial: trial.method):
        row = measures[trial.name]
        errors = [f'{row[key]:.1%}' if key in row else '' for key in columns]
        table.add_row(trial.method, *([views[trial.name]] if seen else []), *errors)
    return table


def _view(path: Path) -> str:
    """Say what the found network of a trial sees of its images; empty where the space leaves no choice."""
    architecture = RunDirectory(path).read_architecture()
    return '' if architecture is None else architecture.view or ''
