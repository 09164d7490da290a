"""``nni-wcnas compare``: one record a network, and one page that compares methods over their seeds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from nni_wcnas.atomic import write_atomically
from nni_wcnas.cli.folder import make_folder
from nni_wcnas.cli.retraining_run import find_retraining
from nni_wcnas.compare import ComparisonError, comparison_page, verdict
from nni_wcnas.compare.trial import Trial, trial_sections
from nni_wcnas.files.record import (
    Record,
    describe,
    fingerprint,
    is_record,
    load_record,
    record_path,
    save_record,
)
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.network.build import trained
from nni_wcnas.settings.problems import CommandError, did_you_mean, for_settings

__all__ = ['Compared', 'compare_runs']


class Compared(NamedTuple):
    """The result of a comparison: the page's file and its conclusion."""

    page: Path
    verdict: str
    """The conclusion that the page begins with, as plain text."""


def compare_runs(
    runs: Sequence[str], out: str | Path, *, names: Sequence[str] = (), title: str = 'Comparison', subtitle: str = '',
    page: str = 'compare.html', trials: Sequence[Trial] = ()
) -> Compared:
    """Write ``records/*.json`` and a page; nothing is written unless all records can be compared.

    Parameters
    ----------
    runs
        Folders of retrainings or trials, or record files; one that is named twice counts once.
    out
        Folder to write to; refused while its sub-folder ``records`` holds others than this comparison's.
    names
        ``RUN=NAME`` each: the method of a run, as it is spelt in ``runs``.
    title, subtitle
        Title of the page, and what stands below it before the number of methods.
    page
        Name of the page's file.
    trials
        Trials of an experiment whose course the page shows, too.

    Raises
    ------
    CommandError
        If something cannot be read or compared, in one sentence.
    """
    methods = _methods(names, runs)
    records = []
    for run in dict.fromkeys(runs):
        record = _record(Path(run))
        records.append(replace(record, method=methods.get(run, record.method)))
    try:
        # Before anything is written: records that do not compare leave the folder as it was.
        html, said = comparison_page(
            records, title, trials=trial_sections(Path(out) / page, trials) if trials else (), subtitle=subtitle
        ), verdict(records)
    except ComparisonError as error:
        raise CommandError(str(error)) from error
    folder = Path(out)
    files = _files(folder / 'records', records)
    _refuse_others(folder / 'records', files)
    make_folder(folder / 'records', 'give another with --out')
    for path, record in files.items():
        save_record(record, path)
    write_atomically(folder / page, html)
    return Compared(folder / page, said)


def _record(path: Path) -> Record:
    """Read the record of a path: a record file, the record of a run, or what a run without one says of itself.

    Raises
    ------
    CommandError
        If there is nothing, or a run's record is of other weights than its checkpoint.
    """
    if not path.exists():
        raise CommandError(f'{path}: there is no such run or record; give a run directory or a record.json')
    if path.is_file():
        return load_record(path)
    run = find_retraining(RunDirectory(path))
    if record_path(run).exists():
        record = load_record(record_path(run))
        # The network was retrained after it was evaluated.
        if record.checkpoint != fingerprint(run.checkpoint):
            raise CommandError(f'{record_path(run)} is of other weights than {run.checkpoint}; make it again with '
                               '`nni-wcnas evaluate`')
        return record
    try:
        # Loads the network for its checks alone: what is described has to be there, and be no search.
        trained(run.path)
    except ValueError as error:
        raise CommandError(for_settings(error)) from error
    return describe(run, path.resolve().name)  # Without measures: the page then says how to get them.


def _refuse_others(folder: Path, files: Collection[Path]) -> None:
    """Refuse a folder that holds records which the comparison would leave beside its own."""
    others = sorted(path.name for path in folder.glob('*.json') if path not in files and is_record(path))
    if others:
        more = f' and {len(others) - 1} more' if len(others) > 1 else ''
        raise CommandError(f'{folder} holds records that are not in this comparison ({others[0]}{more}); compare them, '
                           'too, delete them, or give another --out')


def _methods(names: Sequence[str], runs: Sequence[str]) -> dict[str, str]:
    """Read the arguments ``RUN=NAME`` as a map from run to the name of its method."""
    methods = {}
    for text in names:
        run, equals, name = text.rpartition('=')  # The last sign: a path may hold one.
        if not equals or not name:
            raise CommandError(f'--name {text}: give RUN=NAME')
        if run not in runs:
            raise CommandError(f'--name {text}: {run} is not among the runs; {did_you_mean(run, runs)}')
        methods[run] = name
    return methods


def _files(folder: Path, records: Sequence[Record]) -> dict[Path, Record]:
    """Return a file name for each record, made of its method and seeds."""
    files: dict[Path, Record] = {}
    for record in records:
        # Names come from users and presets, such as wcnas(pc_darts); a separator must not lead to another folder.
        safe = ''.join(letter if letter.isalnum() or letter in '-_' else '-' for letter in record.method)
        search = '' if record.seed is None else f'-seed-{record.seed}'
        path = folder / f'{safe}{search}-retraining-{record.retraining_seed}.json'
        # Two methods whose names differ only in letters that a file name cannot have get different files.
        while path in files:
            path = path.with_stem(f'{path.stem}-')
        files[path] = record
    return files
