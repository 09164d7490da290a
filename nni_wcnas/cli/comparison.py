"""``nni-wcnas compare``: one record a network, and one page that compares methods over their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nni_wcnas.checkpoint import CheckpointError, check_checkpoint
from nni_wcnas.cli.evaluation import retrained
from nni_wcnas.cli.folder import make_folder
from nni_wcnas.cli.problems import CommandError, did_you_mean
from nni_wcnas.evaluation.comparison import ComparisonError, comparison_page
from nni_wcnas.evaluation.record import Record, describe, load_record, record_path, save_record
from nni_wcnas.evaluation.recording import RunDirectory
from nni_wcnas.spaces.architecture import write_atomically

__all__ = ['compare_runs']


def compare_runs(runs: Sequence[str], out: str | Path, *, names: Sequence[str] = (), title: str = 'Comparison') -> Path:
    """Write ``records/*.json`` and ``compare.html``; nothing is written unless all records can be compared.

    Parameters
    ----------
    runs
        Folders of retrainings or trials, or record files.
    out
        Folder to write to.
    names
        ``RUN=NAME`` each: the method of a run, as it is spelt in ``runs``.
    title
        Of the page.

    Returns
    -------
    The page.

    Raises
    ------
    CommandError
        One sentence if something cannot be read or compared.
    """
    methods = _methods(names, runs)
    records = []
    for run in dict.fromkeys(runs):
        record = _record(Path(run))
        records.append(replace(record, method=methods.get(run, record.method)))
    try:
        html = comparison_page(records, title)
    except ComparisonError as error:
        raise CommandError(str(error)) from error
    folder = Path(out)
    make_folder(folder / 'records', 'give another with --out')
    for record in records:
        save_record(record, folder / 'records' / f'{_file_name(record)}.json')
    write_atomically(folder / 'compare.html', html)
    return folder / 'compare.html'


def _record(path: Path) -> Record:
    """A record file, that of a run, or what a run without one says."""
    if not path.exists():
        raise CommandError(f'{path}: there is no such run or record; give a run directory or a record.json')
    if path.is_file():
        return load_record(path)
    run = retrained(RunDirectory(path))
    if record_path(run).exists():
        return load_record(record_path(run))
    try:
        check_checkpoint(run.checkpoint, kind='retrain')  # A search has weights, too.
    except CheckpointError as error:
        raise CommandError(str(error)) from error
    return describe(run, path.resolve().name)


def _methods(names: Sequence[str], runs: Sequence[str]) -> dict[str, str]:
    """Method by run."""
    methods = {}
    for text in names:
        run, equals, name = text.rpartition('=')
        if not equals or not name:
            raise CommandError(f'--name {text}: give RUN=NAME')
        if run not in runs:
            raise CommandError(f'--name {text}: {run} is not among the runs; {did_you_mean(run, runs)}')
        methods[run] = name
    return methods


def _file_name(record: Record) -> str:
    """Unique, as a method has each seed once."""
    safe = ''.join(letter if letter.isalnum() or letter in '-_' else '-' for letter in record.method)
    return f'{safe}-seed-{record.seed}'
