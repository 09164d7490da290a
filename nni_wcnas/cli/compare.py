"""``nni-wcnas compare``: one record a network, and one page that compares methods over their seeds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from nni_wcnas.atomic import write_atomically
from nni_wcnas.cli.folder import make_folder
from nni_wcnas.cli.retrained import retrained
from nni_wcnas.compare import ComparisonError, comparison_page, verdict
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
    """A finished comparison."""

    page: Path
    verdict: str
    """What the page says first, plain text."""


def compare_runs(
    runs: Sequence[str], out: str | Path, *, names: Sequence[str] = (), title: str = 'Comparison'
) -> Compared:
    """Write ``records/*.json`` and ``compare.html``; nothing is written unless all records can be compared.

    Parameters
    ----------
    runs
        Folders of retrainings or trials, or record files.
    out
        Folder to write to; refused while its ``records`` hold others than this comparison's.
    names
        ``RUN=NAME`` each: the method of a run, as it is spelt in ``runs``.
    title
        Of the page.

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
        html, said = comparison_page(records, title), verdict(records)
    except ComparisonError as error:
        raise CommandError(str(error)) from error
    folder = Path(out)
    files = _files(folder / 'records', records)
    _refuse_others(folder / 'records', files)
    make_folder(folder / 'records', 'give another with --out')
    for path, record in files.items():
        save_record(record, path)
    write_atomically(folder / 'compare.html', html)
    return Compared(folder / 'compare.html', said)


def _record(path: Path) -> Record:
    """A record file, that of a run, or what a run without one says."""
    if not path.exists():
        raise CommandError(f'{path}: there is no such run or record; give a run directory or a record.json')
    if path.is_file():
        return load_record(path)
    run = retrained(RunDirectory(path))
    if record_path(run).exists():
        record = load_record(record_path(run))
        if record.checkpoint != fingerprint(run.checkpoint):
            raise CommandError(f'{record_path(run)} is of other weights than {run.checkpoint}; make it again with '
                               '`nni-wcnas evaluate`')
        return record
    try:
        trained(run.path)  # So that what is described is there, and no search.
    except ValueError as error:
        raise CommandError(for_settings(error)) from error
    return describe(run, path.resolve().name)


def _refuse_others(folder: Path, files: Collection[Path]) -> None:
    """Refuse a folder with records that the comparison would leave beside its own."""
    others = sorted(path.name for path in folder.glob('*.json') if path not in files and is_record(path))
    if others:
        more = f' and {len(others) - 1} more' if len(others) > 1 else ''
        raise CommandError(f'{folder} holds records that are not in this comparison ({others[0]}{more}); compare them, '
                           'too, delete them, or give another --out')


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


def _files(folder: Path, records: Sequence[Record]) -> dict[Path, Record]:
    """A file for each record, named by its method and seeds."""
    files: dict[Path, Record] = {}
    for record in records:
        safe = ''.join(letter if letter.isalnum() or letter in '-_' else '-' for letter in record.method)
        search = '' if record.seed is None else f'-seed-{record.seed}'
        path = folder / f'{safe}{search}-retraining-{record.retraining_seed}.json'
        while path in files:  # Of a method whose name differs in other letters only.
            path = path.with_stem(f'{path.stem}-')
        files[path] = record
    return files
