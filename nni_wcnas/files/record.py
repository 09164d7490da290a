"""The record of a trained network: one JSON document with all that a comparison says of it, units and seeds included.

``record.json`` lies in the folder of a retraining. It needs nothing beside it, so records of several machines can be
collected and compared.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from nni_wcnas.atomic import write_atomically
from nni_wcnas.files.earlier_record import updated
from nni_wcnas.files.run_directory import RecordError, RunDirectory
from nni_wcnas.spaces.architecture import Architecture

__all__ = ['Record', 'describe', 'fingerprint', 'is_record', 'load_record', 'record_path', 'save_record', 'unit']

VERSION = 1
"""Version of the format; a change that older readers would misread raises it."""
_FORMAT = 'nni_wcnas record'
_MAX_BYTES = 64 * 2**20
"""Largest record that is parsed, in bytes; images are the greatest part of a record."""
_GRIDS = 4
"""Number of grids of a tester's images that a record keeps, evenly spread over the epochs."""
_REMEDY = 'delete it and make it again with `nni-wcnas evaluate`, or leave it out'

_UNITS = {
    'accuracy': 'share', 'error': 'share', 'ece': 'share', 'brier': '1', 'loss': 'nats', 'examples': 'images',
    'attacked': 'images', 'parameters': 'weights', 'macs': 'multiply-accumulates',
    'distance': 'Euclidean, pixels in [0, 1]',
    'mce': "AlexNet's = 1", 'relative': "AlexNet's = 1", 'search_seconds': 's', 'pretraining_seconds': 's',
    'search_memory': 'B',
}
"""Unit of each measure whose name begins so; any other measure is a number without unit."""


@dataclass(frozen=True)
class Record:
    """All that is known of one trained network, in plain values.

    Parameters
    ----------
    name
        Name of the run, for the reader.
    method
        Method that found the architecture; runs of one method are averaged over both seeds.
    seed
        Seed of the search; None where it is not known, as of a published cell.
    data
        Name of the data set that was measured on.
    retraining_seed
        Seed of the network's initial weights.
    settings
        Settings of the ``search``, the ``data`` and the ``retrain``, and the name of the ``recipe``, None if it had
        none.
    architecture
        The architecture as its file has it, without provenance; empty for a network without an architecture file.
    measures
        Value of each measure by its name; :func:`unit` gives the unit.
    measured_with
        For each group of measures (``test``, ``groups``, ``corruptions``, ``attacks``, ``curve``) what they depend on
        beside the network.
    checkpoint
        SHA-256 of the checkpoint that holds the weights; tells whether the measures are of these weights.
    class_names
        Names of the data set's classes, by label.
    hardest
        The hardest test images, hardest first: ``position``, ``label``, ``predicted``, ``confidence``, ``image`` (PNG,
        base64).
    history
        Rows of the retraining's ``metrics.csv``.
    search_history
        Rows of the search's ``metrics.csv``, where that is at hand.
    tester_images
        Grids of the tester's images, a row a class: ``epoch`` of the search and ``image`` (PNG, base64).
    versions, commit
        Versions of the packages in the training, and the commit of this package's repository when the record was made.
    """

    name: str
    method: str
    seed: int | None
    data: str
    retraining_seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    architecture: dict[str, Any] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)
    measured_with: dict[str, Any] = field(default_factory=dict)
    checkpoint: str = ''
    class_names: list[str] = field(default_factory=list)
    hardest: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    search_history: list[dict[str, float]] = field(default_factory=list)
    tester_images: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None


def unit(name: str) -> str:
    """Return the unit of a measure by its name; ``'1'`` for one that has none."""
    return next((value for start, value in _UNITS.items() if name.startswith(start)), '1')


def record_path(run: RunDirectory) -> Path:
    """Return the path at which a run keeps its record."""
    return run.path / 'record.json'


def describe(run: RunDirectory, name: str | None = None) -> Record:
    """Make a record of what the files of a retraining say, without measures.

    Parameters
    ----------
    run
        A folder of ``nni-wcnas retrain``, or the ``retraining`` of a trial.
    name
        Name for the reader; that of the folder by default.

    Raises
    ------
    RecordError
        If a file is damaged, or the folder holds no retraining.
    """
    settings = run.read_settings()
    data = settings.get('data')
    if not isinstance(settings.get('retrain'), dict) or not isinstance(data, dict):
        raise RecordError(f'{run.settings} does not describe a retraining: make one with `nni-wcnas retrain`')
    architecture = run.read_architecture()
    origin = {} if architecture is None else architecture.provenance
    name = name or run.path.resolve().name  # Resolved, as a path such as `.` has no name.
    # The architecture knows the seed of its search. A trial's settings have one seed for search and retraining.
    seed = origin.get('seed', settings.get('seed'))
    return Record(
        name=name,
        method=_method(origin, name),
        seed=None if seed is None else int(seed),
        data=str(data.get('name')),
        retraining_seed=int(settings['retrain'].get('seed', settings.get('seed', 0))),
        settings={'search': origin, 'data': data, 'retrain': settings['retrain'], 'recipe': settings.get('recipe')},
        architecture=_plain(architecture),
        history=run.read_history(),
        **_search(run),
        versions=settings.get('versions', {}),
        commit=_commit(),
    )


def _search(run: RunDirectory) -> dict[str, Any]:
    """Read how the search went, if the retraining lies inside the search's run as that of a trial does.

    Returns
    -------
    dict
        ``search_history`` and ``tester_images`` of a :class:`Record`; empty for a retraining elsewhere.
    """
    search = RunDirectory(run.path.resolve().parent)
    if run.path.resolve().name != 'retraining' or not search.metrics.exists():
        return {}
    grids = list(search.generated().items())
    # Grids are the greatest part of a record, so a few have to do.
    count = min(len(grids), _GRIDS)
    # Indices round down from 0 to the last one in equal steps; the first and the last grid are always among them.
    shown = [grids[place * (len(grids) - 1) // max(count - 1, 1)] for place in range(count)]
    images = [{'epoch': epoch, 'image': base64.b64encode(path.read_bytes()).decode()} for epoch, path in shown]
    return {'search_history': search.read_history(), 'tester_images': images}


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_record(record: Record, path: Path) -> Path:
    """Write a record, whole or not at all; numbers that are not finite are left out.

    JSON has no infinity and no NaN: ``allow_nan=False`` would refuse them, and other readers could not parse them.
    """
    document = {'format': _FORMAT, 'version': VERSION, **asdict(record)}
    document['measures'] = {
        # Each value carries its unit, so that the file explains itself; reading drops it again.
        name: {'value': value, 'unit': unit(name)} for name, value in record.measures.items() if math.isfinite(value)
    }
    for rows in ('history', 'search_history'):
        document[rows] = [{key: value for key, value in row.items() if math.isfinite(value)} for row in document[rows]]
    write_atomically(path, json.dumps(document, indent=1, allow_nan=False, default=str) + '\n')
    return path


def load_record(path: Path) -> Record:
    """Read a record and check that it is whole; records of earlier releases are completed.

    Raises
    ------
    RecordError
        If the file is no record; the message is one sentence that names the file, what is wrong, and the remedy.
    """
    document = _document(path)
    version = document.pop('version', None)
    if version != VERSION:
        raise RecordError(f'{path} is of version {version!r}, but this release reads {VERSION}: update nni_wcnas, or '
                          'leave it out')
    return _checked(document, path)


def is_record(path: Path) -> bool:
    """Tell whether a file says that it is a record, of whichever version."""
    try:
        return bool(_document(path))
    except RecordError:
        return False


def _document(path: Path) -> dict[str, Any]:
    """Read the JSON document of a record, without its key ``format``."""
    try:
        # Asked before reading, so that a huge file that only looks like a record cannot fill the memory.
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ValueError(f'it has {size} bytes, more than the {_MAX_BYTES} of a record')
        document = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(document, dict) or document.pop('format', None) != _FORMAT:
            raise ValueError(f'it does not say that its format is {_FORMAT!r}')
    except OSError as error:
        raise RecordError(f'{path} cannot be read ({error.strerror}): {_REMEDY}') from error
    # A JSON of very deep nesting exhausts the parser's recursion.
    except (ValueError, RecursionError) as error:
        raise RecordError(f'{path} is no record ({" ".join(str(error).split())}): {_REMEDY}') from error
    return document


def _checked(document: dict[str, Any], path: Path) -> Record:
    """Make a record of a document, and refuse keys, types and values that no record has.

    Everything that a page shows later is tried here, so that a damaged record is refused with its name and not met as a
    traceback in the middle of a page.
    """
    kinds: Mapping[str, type | tuple[type, ...]] = {
        'name': str, 'method': str, 'seed': (int, type(None)), 'data': str, 'retraining_seed': int,
        'checkpoint': str, 'commit': (str, type(None)), 'class_names': list, 'hardest': list, 'history': list,
        'search_history': list, 'tester_images': list,
    }
    names = [each.name for each in fields(Record)]
    try:
        document = updated(document)
        # Everything without an entry in `kinds` is a map.
        for name in names:
            if not isinstance(document[name], kinds.get(name, dict)):
                raise ValueError(f'{name} is a {type(document[name]).__name__}')
        for part in ('data', 'retrain'):
            if not isinstance(document['settings'].get(part, {}), dict):
                raise ValueError(f'{part} of the settings is a {type(document["settings"][part]).__name__}')
        document['measures'] = {name: float(entry['value']) for name, entry in document['measures'].items()}
        for value in document['measures'].values():
            if not math.isfinite(value):
                raise ValueError('a measure is not finite')
        for example in document['hardest']:
            base64.b64decode(example['image'], validate=True)
            # Labels have to be indices of the class names, the position a whole number.
            for key in ('position', 'label', 'predicted'):
                document['class_names'][int(example[key])] if key != 'position' else int(example[key])
            float(example['confidence'])
        for grid in document['tester_images']:
            base64.b64decode(grid['image'], validate=True)
            int(grid['epoch'])
        if document['architecture']:
            Architecture(**document['architecture'])  # Checks itself.
        return Record(**{name: document[name] for name in names})
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        # A KeyError's text is the mere key.
        reason = f'there is no {error}' if isinstance(error, KeyError) else ' '.join(str(error).split()).rstrip('.')
        raise RecordError(f'{path} is no whole record ({reason}): {_REMEDY}') from error


def _method(origin: Mapping[str, Any], name: str) -> str:
    """Name the method of an architecture by its provenance.

    It is the preset, in brackets with the base that it is applied to unless that is DARTS, such as ``wcnas(pc_darts)``;
    for a published cell the method that it names; otherwise the run's name.
    """
    settings = origin.get('settings')
    method = settings.get('method') if isinstance(settings, dict) else None
    if not isinstance(method, dict):
        return str(origin.get('method', name))  # Published cells name their method.
    base = method.get('base', 'darts')
    preset = str(method.get('preset', 'composed'))
    return preset if base == 'darts' else f'{preset}({base})'


def _commit() -> str | None:
    """Return the commit of this package's repository; None where it is not installed from a checkout."""
    folder = Path(__file__).parents[2]
    if not (folder / '.git').exists():
        return None
    # A repository that has no commit, say, is no error: the commit only helps the reader.
    done = subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _plain(architecture: Architecture | None) -> dict[str, Any]:
    """Return an architecture as plain values, empty for None; its provenance stands in the record's settings."""
    # Through JSON, so that tuples are lists and the values equal those of a record that was read from its file.
    return {} if architecture is None else {**json.loads(json.dumps(asdict(architecture))), 'provenance': {}}
