r"""True values by lookup: what training every architecture of NAS-Bench-201 has given judges what a search finds.

A table is a CSV file, gzipped or not, with a row for each architecture: its string under ``arch_str``, and columns of
numbers. Where these are accuracies of classes, ``class_0``, ``class_1`` and so on, the least of them is a column, too:
``worst_class``. In a column :math:`v_1, \dots, v_N` an architecture of value :math:`v` has

.. math:: \text{rank} = 1 + |\{i : v_i > v\}|, \quad \text{percentile} = 100\,|\{i : v_i \le v\}| / N

so rank 1 is the highest value, of accuracies the best, and equal values share a rank. A string that stands twice has
the values of its first row.

A table judges, and never chooses: nothing that trains or selects reads it.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from nni_wcnas.spaces.architecture_string import to_string
from nni_wcnas.spaces.candidates import dense_labels
from nni_wcnas.spaces.sample_check import nearest

__all__ = ['Standing', 'TruthError', 'TruthTable', 'load_truth']

_ARCHITECTURE = 'arch_str'
_INDEX = 'index'
"""Numbers the rows of published tables, and is no value."""
_WORST_CLASS = 'worst_class'
_GZIP = b'\x1f\x8b'
_REMEDY = f'give a CSV file with a column {_ARCHITECTURE} and columns of numbers'


class TruthError(ValueError):
    """A table, or what is looked up in it, is wrong. One sentence: which, how, and the remedy."""


@dataclass(frozen=True)
class Standing:
    """One architecture in one column.

    Parameters
    ----------
    value
        As the table has it.
    rank
        From 1, the highest value.
    count
        Rows of the table.
    """

    value: float
    rank: int
    count: int

    @property
    def percentile(self) -> float:
        """How many of 100 rows have no higher value."""
        return 100 * (self.count - self.rank + 1) / self.count


@dataclass(frozen=True)
class TruthTable:
    """What is known of all architectures.

    Parameters
    ----------
    path
        Of the file, for messages.
    architectures
        Strings of the rows.
    columns
        Values by name, each of shape ``(N,)``.
    """

    path: Path
    architectures: tuple[str, ...]
    columns: dict[str, NDArray[np.float64]]

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Row by architecture, of equal ones the first."""
        rows = enumerate(self.architectures)
        return {architecture: row for row, architecture in reversed(list(rows))}

    @cached_property
    def _ranks(self) -> dict[str, NDArray[np.float64]]:
        return {name: rankdata(-values, method='min') for name, values in self.columns.items()}

    def select(self, names: Iterable[str]) -> TruthTable:
        """The same architectures with these columns.

        Raises
        ------
        TruthError
            When there is none of a name.
        """
        for name in names:
            if name not in self.columns:
                near = nearest(name, self.columns)
                raise TruthError(f'columns has {name!r}, of which {self.path} has no numbers: did you mean {near!r}?')
        return replace(self, columns={name: self.columns[name] for name in names})

    def standings(self, architecture: str) -> dict[str, Standing]:
        """Value and rank of an architecture by column.

        Parameters
        ----------
        architecture
            Its string.

        Raises
        ------
        TruthError
            When the table has it not.
        """
        row = self._rows.get(architecture)
        if row is None:
            raise TruthError(f'{self.path} has no architecture {architecture}; give a table that has')
        count = len(self.architectures)
        return {name: Standing(float(values[row]), int(self._ranks[name][row]), count)
                for name, values in self.columns.items()}

    def missing(self, operations: Iterable[str]) -> list[str]:
        """Architectures of these operations, those of the benchmark or some of them, that the table has not."""
        labels = dense_labels()
        chosen = itertools.product(operations, repeat=len(labels))
        every = (to_string(dict(zip(labels, names))) for names in chosen)
        return [architecture for architecture in every if architecture not in self._rows]


def load_truth(path: Path) -> TruthTable:
    r"""Read a table: all its columns of numbers, without ``index``, and ``worst_class`` where there are classes.

    A column is one of numbers if its first cell is a number.

    Raises
    ------
    TruthError
        When the file cannot be read, lacks ``arch_str``, rows or numbers, or a cell is no finite number.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / 'two.csv'
    >>> _ = path.write_text('arch_str,class_0,class_1\na,0.75,0.5\nb,0.25,1\n')
    >>> load_truth(path).standings('a')['worst_class']
    Standing(value=0.5, rank=1, count=2)
    """
    header, rows = _cells(path)
    if not rows:
        raise TruthError(f'{path} has no rows; {_REMEDY}')
    if _ARCHITECTURE not in header:
        raise TruthError(f'{path} has no column {_ARCHITECTURE}, but {", ".join(header)}; {_REMEDY}')
    cells = dict(zip(header, zip(*rows)))
    architectures = tuple(text.strip() for text in cells.pop(_ARCHITECTURE))
    columns = {name: _numbers(path, name, texts) for name, texts in cells.items()
               if name != _INDEX and _is_number(texts[0])}
    if not columns:
        raise TruthError(f'{path} has no column of numbers; {_REMEDY}')
    classes = [values for name, values in columns.items() if re.fullmatch(r'class_\d+', name)]
    if classes:
        columns.setdefault(_WORST_CLASS, np.min(classes, axis=0))
    return TruthTable(path, architectures, columns)


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and the rows."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if content.startswith(_GZIP) else content).decode('utf-8-sig')
        header, *rows = [row for row in csv.reader(text.splitlines()) if row] or [[]]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, 'strerror', None) or ' '.join(str(error).split()).rstrip('.')
        raise TruthError(f'{path} cannot be read ({reason}); {_REMEDY}') from error
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise TruthError(f'{path} has {len(row)} cells in row {number} under {len(header)} names; correct the row')
    return header, rows


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _numbers(path: Path, name: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """A column, of which every cell must be a number, as its first one is."""
    try:
        values = np.array([float(text) for text in texts])
        finite = bool(np.isfinite(values).all())
    except ValueError:
        finite = False
    if not finite:
        row, text = next((row, text) for row, text in enumerate(texts, start=1) if not _is_number(text))
        raise TruthError(f'{path} has {text!r} in row {row} of {name}; correct it, or leave the column out')
    return values
