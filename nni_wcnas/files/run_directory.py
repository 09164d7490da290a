"""The files of one run, each written whole or not at all.

::

    settings.yml  metrics.csv  measures.json  architecture.json  cell_normal.svg  cell_reduce.svg  policy.json
    generated/epoch_<epoch>.png  generated/measures.json  checkpoints/last.ckpt  report.html  proposal.json

and ``tensorboard/``, whose event files grow epoch by epoch: see :mod:`nni_wcnas.page.event_file`.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from nni_wcnas.atomic import write_atomically
from nni_wcnas.spaces.architecture import Architecture, load_architecture, save_architecture
from nni_wcnas.tensor_file import write_tensors

__all__ = ['RecordError', 'RunDirectory']

_MAX_BYTES = 1 << 20
"""Largest file of settings or measures that is parsed; YAML of some megabytes takes minutes."""


class RecordError(ValueError):
    """A file of a run is damaged; the message is one sentence that names the file, the damage and the remedy."""


class RunDirectory:
    """The folder of a run, with a path and a pair of read and write methods for each of its files.

    Parameters
    ----------
    path
        The folder; it and its sub-folders are made when something is written.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.settings = self.path / 'settings.yml'
        self.metrics = self.path / 'metrics.csv'
        self.measures = self.path / 'measures.json'
        self.architecture = self.path / 'architecture.json'
        self.checkpoint = self.path / 'checkpoints' / 'last.ckpt'
        self.report = self.path / 'report.html'
        self.generated_measures = self.path / 'generated' / 'measures.json'
        self.tensorboard = self.path / 'tensorboard'
        self.policy = self.path / 'policy.json'
        self.proposal = self.path / 'proposal.json'

    def __repr__(self) -> str:
        """Show the path of the folder."""
        return f'RunDirectory({str(self.path)!r})'

    def cell(self, name: str) -> Path:
        """Return the path of the drawing of a cell: ``'normal'``, ``'reduce'``, or in NAS-Bench-201 ``'cell'``."""
        return self.path / f'cell_{name}.svg'

    def grid(self, epoch: int) -> Path:
        """Return the path of the picture of the tester's images after an epoch; epoch 0 is before the search."""
        return self.path / 'generated' / f'epoch_{epoch:04d}.png'

    def generated(self) -> dict[int, Path]:
        """Return the paths of all pictures of the tester's images by epoch, ascending."""
        grids = {}
        for path in (self.path / 'generated').glob('epoch_*.png'):
            number = path.stem.removeprefix('epoch_')
            if number.isdigit():  # A user's own file, such as a copy, is passed over.
                grids[int(number)] = path
        return dict(sorted(grids.items()))

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Write ``settings.yml``: what the run was told, resolved, with its seed and versions.

        Parameters
        ----------
        settings
            Numbers, strings (also of derived classes, as ``torch.__version__``, and paths), lists and maps.
        """
        # The safe dumper writes no Python objects, which the safe loader would refuse to read.
        write_atomically(self.settings, yaml.safe_dump(_plain_tree(settings), sort_keys=False, allow_unicode=True))

    def read_settings(self) -> dict[str, Any]:
        """Read ``settings.yml``; empty where there is none.

        Raises
        ------
        RecordError
            If the file is damaged.
        """
        if not self.settings.exists():
            return {}
        with _damage(self.settings, 'restore it, or start a new run in another directory'):
            settings = yaml.safe_load(_read(self.settings))
            if not isinstance(settings, dict):
                raise ValueError('it holds no keys')
        return settings

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Rewrite ``metrics.csv``: one row an epoch, so that a resumed run replaces rows and never repeats one.

        Parameters
        ----------
        rows
            All rows since the first epoch; a later row of the same ``epoch`` replaces the earlier one. A row may lack
            columns, its cells are then empty.
        """
        # By epoch, so that an epoch which was made again after an interruption has one row.
        latest: dict[float, Mapping[str, float]] = {}
        for position, row in enumerate(rows):
            latest[row.get('epoch', position)] = row
        # A union in order of appearance: later stages of a search may measure more than its first row.
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval='', lineterminator='\n')
        writer.writeheader()
        writer.writerows({key: _plain(value) for key, value in row.items()} for _, row in sorted(latest.items()))
        write_atomically(self.metrics, text.getvalue())

    def read_history(self) -> list[dict[str, float]]:
        """Read ``metrics.csv``; empty cells are left out, and no file means no rows.

        Raises
        ------
        RecordError
            If the file is damaged.
        """
        if not self.metrics.exists():
            return []
        with _damage(self.metrics, 'continue the run with --resume, which writes it again, or delete it'):
            # A long training has thousands of rows; CSV is parsed fast, so it may be larger than YAML.
            rows = list(csv.DictReader(_read(self.metrics, 16 * _MAX_BYTES).splitlines()))
            # An empty cell is a measure that this epoch did not have. It is not 0, and not NaN.
            return [{key: int(value) if key == 'epoch' else float(value) for key, value in row.items() if value}
                    for row in rows]

    def write_measures(self, measures: Mapping[str, float]) -> None:
        """Write ``measures.json``: the final measures of the retrained network."""
        plain = {key: _plain(value) for key, value in measures.items()}
        write_atomically(self.measures, json.dumps(plain, indent=2) + '\n')

    def read_measures(self) -> dict[str, float]:
        """Read ``measures.json``; empty where there is none.

        Raises
        ------
        RecordError
            If the file is damaged.
        """
        if not self.measures.exists():
            return {}
        with _damage(self.measures, 'make it again with `nni-wcnas evaluate`, or delete it'):
            measures = json.loads(_read(self.measures))
            return {key: float(value) for key, value in measures.items()}  # Refuses what is no number.

    def write_policy(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write ``policy.json``: what a policy has learned, such as its sub-policies, a line each, strongest first."""
        lines = ',\n'.join(json.dumps(row) for row in rows)
        write_atomically(self.policy, f'[\n{lines}\n]\n')

    def write_proposal(self, parameters: Mapping[str, Any]) -> None:
        """Write ``proposal.json``: the parameters that a tuner proposed for this trial."""
        write_atomically(self.proposal, json.dumps(parameters, indent=2) + '\n')

    def read_proposal(self) -> dict[str, Any] | None:
        """Read ``proposal.json``; None where there is none.

        Raises
        ------
        RecordError
            If the file is damaged.
        """
        if not self.proposal.exists():
            return None
        with _damage(self.proposal, 'run the trial again, or delete it'):
            return dict(json.loads(_read(self.proposal)))

    def write_architecture(self, architecture: Architecture) -> None:
        """Write ``architecture.json``; :mod:`nni_wcnas.page.run_pictures` draws the cells beside it."""
        save_architecture(architecture, self.architecture)

    def read_architecture(self) -> Architecture | None:
        """Read ``architecture.json``; None where there is none.

        Raises
        ------
        ArchitectureError
            If the file is damaged.
        """
        return load_architecture(self.architecture) if self.architecture.exists() else None

    def write_generated_measures(self, extractor: str, measures: Mapping[str, Any]) -> None:
        """Write measures of the tester's images, beside those that other feature extractors gave.

        Parameters
        ----------
        extractor
            Name of the feature extractor that they were measured with; its earlier measures are replaced.
        measures
            Numbers by name, with what they depend on.
        """
        # Numbers of two extractors do not compare, so both are kept, each under its name.
        every = {**self.read_generated_measures(), extractor: dict(measures)}
        write_atomically(self.generated_measures, json.dumps(every, indent=2) + '\n')

    def read_generated_measures(self) -> dict[str, dict[str, Any]]:
        """Read the measures of the tester's images by feature extractor; empty where none were written.

        Raises
        ------
        RecordError
            If the file is damaged.
        """
        if not self.generated_measures.exists():
            return {}
        with _damage(self.generated_measures, 'make it again with `nni-wcnas images`, or delete it'):
            every = json.loads(_read(self.generated_measures))
            return {extractor: dict(measures) for extractor, measures in every.items()}

    def write_checkpoint(self, content: Mapping[str, Any]) -> None:
        """Write ``checkpoints/last.ckpt``.

        Parameters
        ----------
        content
            Tensors, numbers, strings, lists and maps: what ``torch.load(weights_only=True)`` reads back.
        """
        write_tensors(self.checkpoint, dict(content))


@contextmanager
def _damage(path: Path, remedy: str) -> Iterator[None]:
    """Turn errors of reading a file, inside the context, into a :class:`RecordError` of one sentence that names it."""
    try:
        yield
    # The kinds of errors that a file of another form or half a file leads to in the readers inside.
    except (ValueError, TypeError, AttributeError, OSError, csv.Error, yaml.YAMLError) as error:
        reason = ' '.join(str(error).split()).rstrip('.')
        raise RecordError(f'{path} is damaged or not the file of a run ({reason}): {remedy}') from error


def _read(path: Path, most: int = _MAX_BYTES) -> str:
    """Read a text file, and refuse one that is too long to parse.

    Parameters
    ----------
    path
        The file.
    most
        Largest size, in bytes.

    Raises
    ------
    ValueError
        If the file is larger.
    """
    size = path.stat().st_size
    if size > most:
        raise ValueError(f'it has {size} bytes, more than the {most} of such a file')
    return path.read_text(encoding='utf-8')


def _plain_tree(value: Any) -> Any:
    """Convert nested settings to what YAML can hold without naming a Python class, which a safe loader would refuse."""
    if isinstance(value, Mapping):
        return {str(key): _plain_tree(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_tree(item) for item in value]
    # str() of a derived string is a plain one, which YAML writes as text.
    return str(value) if isinstance(value, (str, os.PathLike)) else _plain(value)


def _plain(value: Any) -> Any:
    """Convert a tensor or NumPy number of one element to a Python number; anything else stays as it is.

    The files hold ``repr`` of a float, which reads back to the same bits.
    """
    return value.item() if hasattr(value, 'item') else value
