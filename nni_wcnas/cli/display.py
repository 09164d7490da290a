"""The display of ``nni-wcnas run``: a live table of the trials, and their results in the end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from nni_wcnas.files.run_directory import RunDirectory

__all__ = ['Display', 'TrialState', 'print_results']


@dataclass(frozen=True)
class TrialState:
    """State of one trial at one moment: NNI's id and number of it, its status, method, parameters and metrics."""

    name: str
    number: int
    status: str
    method: str
    parameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    log: str = ''

    @classmethod
    def of(cls, job: Any, folder: Path) -> TrialState:
        """Make the state of a trial from NNI's record of it and from the trial's own files.

        Proposals go to trials in the order in which these ask for them. Of trials side by side, NNI's own record may
        name another's parameters, so those that the trial has written down are taken.
        """
        parameters = RunDirectory(folder / job.trialJobId).read_proposal() or {}
        metrics: dict[str, float] = {}
        if job.status == 'SUCCEEDED' and job.finalMetricData:
            value = job.finalMetricData[0].data
            # Metrics may come as JSON text, and be a dictionary or a single number.
            value = json.loads(value) if isinstance(value, str) else value
            metrics = value if isinstance(value, dict) else {'default': float(value)}
        # NNI's own `stderrPath` does not name the file that it writes.
        log = str(Path(job.logPath) / 'trial.stderr') if job.logPath else ''
        return cls(job.trialJobId, job.sequenceId, job.status, _label(parameters), parameters, metrics, log)

    @property
    def group(self) -> str:
        """The method and proposal without the seed: what trials of several seeds have in common."""
        # Several seeds of one proposal are one method of the comparison.
        return _label({key: value for key, value in self.parameters.items() if key != 'seed'}) or 'the settings'


class Display:
    """A live table of the trials on a terminal; in a pipe one line for each change, and with ``quiet`` nothing.

    Parameters
    ----------
    address
        Address of the web UI.
    expected
        Number of trials that there will be; 0 when unknown.
    quiet
        Whether to show nothing.
    """

    def __init__(self, address: str, expected: int, *, quiet: bool = False) -> None:
        self.address, self.expected, self.quiet = address, expected, quiet
        self.console = Console()
        self._live = (
            # Refreshed by `show` alone, and gone in the end, when the table of results takes its place.
            Live(console=self.console, auto_refresh=False, transient=True)
            if self.console.is_terminal and not quiet
            else None
        )
        self._last = ''

    def __enter__(self) -> None:
        if not self.quiet:
            self.console.print(f'web UI: {self.address}', highlight=False)
        if self._live is not None:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, trials: list[TrialState]) -> None:
        """Bring the display up to date with the state of all trials."""
        summary = self._summary(trials)
        if self._live is not None:
            self._live.update(_table(trials, summary), refresh=True)
        # In a pipe, such as a log file, a line for each change is enough.
        elif not self.quiet and summary != self._last:
            self.console.print(summary, highlight=False, soft_wrap=True)
        self._last = summary

    def _summary(self, trials: list[TrialState]) -> str:
        """Count the trials by their state, and name the best result so far."""
        count = {
            status: sum(trial.status == status for trial in trials) for status in ('SUCCEEDED', 'RUNNING', 'FAILED')
        }
        total = f' of {self.expected}' if self.expected else ''
        # Metrics are there for trials that succeeded only; higher is better.
        best = max((trial.metrics['default'] for trial in trials if trial.metrics), default=None)
        return f'trials: {count["SUCCEEDED"]}{total} done, {count["RUNNING"]} running, {count["FAILED"]} failed' + (
            f', best so far {best:.4f}' if best is not None else ''
        )


def print_results(trials: list[TrialState], best: Path | None, report: Path | None, log: str) -> None:
    """Print the last table and where the results are; if no trial succeeded, where NNI's log is.

    Parameters
    ----------
    trials
        All trials.
    best, report
        Files of the best cell and of the report; None where there are none.
    log
        Folder of NNI's log.
    """
    console = Console()
    console.print(_table(sorted(trials, key=lambda trial: -trial.metrics.get('default', -1)), None))
    for trial in trials:
        if trial.status == 'FAILED':
            console.print(
                f'trial {trial.number} ({trial.name}) failed; see {trial.log}', highlight=False, soft_wrap=True
            )
    if best is not None:
        console.print(f'best cell: {best}\nreport: {report}', highlight=False, soft_wrap=True)
    else:
        console.print(f'No trial succeeded; see {log}', highlight=False, soft_wrap=True)


def _table(trials: list[TrialState], title: str | None) -> Table:
    """Make a table with a row for each trial: status, method and proposal, and the metrics that it has."""
    table = Table('trial', 'status', 'method and proposal', 'hardest', 'all', 'parameters', 'skips', title=title)
    for trial in trials:
        metrics = trial.metrics
        table.add_row(
            f'{trial.number} {trial.name}',
            trial.status.lower(),
            trial.method,
            *(f'{metrics[key]:.1%}' if key in metrics else '' for key in ('accuracy_hard', 'accuracy')),
            *(f'{metrics[key]:.0f}' if key in metrics else '' for key in ('parameters', 'skips')),
        )
    return table


def _label(parameters: dict[str, Any]) -> str:
    """Write the name of the method, if that is proposed, and in brackets what else is proposed."""
    method = parameters.get('method', {})
    name = method.get('_name', '') if isinstance(method, dict) else str(method)
    return ' '.join([name, *(f'({text})' for text in [_described(parameters)] if text)]).strip()


def _described(parameters: dict[str, Any]) -> str:
    """Write what is proposed beside the name of the method: options and arguments, each behind its key."""
    words = []
    for key, value in parameters.items():
        given = value if isinstance(value, dict) else {'_name': value}
        if '_name' in given and key != 'method':
            words.append(f'{key} {_written(given["_name"])}')
        words += [f'{part} {_written(_inner(inner))}' for part, inner in given.items() if part != '_name']
    return ', '.join(words)


def _inner(value: Any) -> Any:
    """Write a nested choice as its name and arguments; any other value stays as it is."""
    if not isinstance(value, dict):
        return value
    rest = ' '.join(f'{key} {_written(_inner(part))}' for key, part in value.items() if key not in ('_name', 'name'))
    return f'{value.get("_name", value.get("name", ""))} {rest}'.strip()


def _written(value: Any) -> str:
    """Write a value in few digits."""
    return f'{value:.3g}' if isinstance(value, float) else str(value)
