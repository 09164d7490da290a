r"""Look up true values: a table of every trained architecture of NAS-Bench-201 judges what a search finds.

A table is a CSV file, gzipped or not, with a row for each architecture: its string under ``arch_str``, and columns of
numbers. Where these are accuracies of classes, ``class_0``, ``class_1`` and so on, the lowest of them is a column, too:
``worst_class``. In a column :math:`v_1, \dots, v_N` an architecture of value :math:`v` has

.. math:: \text{rank} = 1 + |\{i : v_i > v\}|, \quad \text{percentile} = 100\,|\{i : v_i \le v\}| / N

so rank 1 is the highest value, which is the best accuracy, and equal values share a rank. A string that stands in two
rows has the values of the first.

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

from nni_wcnas.nearest_name import nearest_name
from nni_wcnas.spaces.architecture_string import to_string
from nni_wcnas.spaces.candidates import dense_labels

__all__ = ['Standing', 'TruthError', 'TruthTable', 'load_truth']

_ARCHITECTURE = 'arch_str'
_INDEX = 'index'
"""Column that numbers the rows of published tables, and holds no values."""
_WORST_CLASS = 'worst_class'
# The first two bytes of every gzip file: the content tells, whatever the file is called.
_GZIP = b'\x1f\x8b'
_REMEDY = f'give a CSV file with a column {_ARCHITECTURE} and columns of numbers'


class TruthError(ValueError):
    """A table, or what is looked up in it, is wrong; the message says which, how, and the remedy in one sentence."""


@dataclass(frozen=True)
class Standing:
    """The value and the rank of one architecture in one column of a table.

    Parameters
    ----------
    value
        The value that the table has.
    rank
        Place in the order of falling values; the highest value has rank 1.
    count
        Number of rows of the table.
    """

    value: float
    rank: int
    count: int

    @property
    def percentile(self) -> float:
        """Percentage of the rows whose value is not higher, in (0, 100]."""
        return 100 * (self.count - self.rank + 1) / self.count


@dataclass(frozen=True)
class TruthTable:
    """A table of the values of all architectures.

    Parameters
    ----------
    path
        Path of the file, for messages.
    architectures
        Architecture strings of the N rows.
    columns
        Values by name of the column, each of shape ``(N,)``.
    """

    path: Path
    architectures: tuple[str, ...]
    columns: dict[str, NDArray[np.float64]]

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Row by architecture string; of equal strings the first row."""
        rows = enumerate(self.architectures)
        # A later entry of a dict replaces an earlier one, so the rows are gone through from the last to the first.
        return {architecture: row for row, architecture in reversed(list(rows))}

    @cached_property
    def _ranks(self) -> dict[str, NDArray[np.float64]]:
        """Ranks of all rows by name of the column, each of shape ``(N,)``."""
        # Negated, as rankdata gives 1 to the lowest. 'min': 1 plus the number of higher values, for equal ones alike.
        return {name: rankdata(-values, method='min') for name, values in self.columns.items()}

    def select(self, names: Iterable[str]) -> TruthTable:
        """Return a table of the same architectures with these columns alone.

        Raises
        ------
        TruthError
            When the table has no column of a name.
        """
        for name in names:
            if name not in self.columns:
                near = nearest_name(name, self.columns)
                raise TruthError(f'columns has {name!r}, of which {self.path} has no numbers: did you mean {near!r}?')
        return replace(self, columns={name: self.columns[name] for name in names})

    def standings(self, architecture: str) -> dict[str, Standing]:
        """Look up value and rank of an architecture in each column.

        Parameters
        ----------
        architecture
            The architecture's string.

        Returns
        -------
        dict
            Standing by name of the column.

        Raises
        ------
        TruthError
            When the table does not have the architecture.
        """
        row = self._rows.get(architecture)
        if row is None:
            raise TruthError(f'{self.path} has no architecture {architecture}; give a table that has')
        count = len(self.architectures)
        return {name: Standing(float(values[row]), int(self._ranks[name][row]), count)
                for name, values in self.columns.items()}

    def missing(self, operations: Iterable[str]) -> list[str]:
        """List the architectures that the table lacks, of all that can be built of these operations.

        Parameters
        ----------
        operations
            Names of the benchmark's operations, or of some of them.
        """
        labels = dense_labels()
        # One operation for each of the 6 edges: 5^6 = 15 625 architectures for all of the benchmark's operations.
        chosen = itertools.product(operations, repeat=len(labels))
        every = (to_string(dict(zip(labels, names))) for names in chosen)
        return [architecture for architecture in every if architecture not in self._rows]


def load_truth(path: Path) -> TruthTable:
    r"""Read all columns of numbers of a table, without ``index``, and add ``worst_class`` where there are classes.

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
    # Rows to columns: the cells of each column by its name.
    cells = dict(zip(header, zip(*rows)))
    architectures = tuple(text.strip() for text in cells.pop(_ARCHITECTURE))
    columns = {name: _numbers(path, name, texts) for name, texts in cells.items()
               if name != _INDEX and _is_number(texts[0])}
    if not columns:
        raise TruthError(f'{path} has no column of numbers; {_REMEDY}')
    classes = [values for name, values in columns.items() if re.fullmatch(r'class_\d+', name)]
    if classes:
        # Over the classes, (classes, N) -> (N,). A column of this name in the file takes precedence.
        columns.setdefault(_WORST_CLASS, np.min(classes, axis=0))
    return TruthTable(path, architectures, columns)


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read the names of the columns, and the rows.

    Raises
    ------
    TruthError
        When the file cannot be read, or a row has another number of cells than there are names.
    """
    try:
        content = path.read_bytes()
        # utf-8-sig drops the byte order mark that spreadsheets write; it would become part of the first name.
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
    """Tell whether a cell holds a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _numbers(path: Path, name: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """Convert the cells of a column, all of which must be finite numbers, to an array of shape ``(N,)``."""
    try:
        values = np.array([float(text) for text in texts])
        finite = bool(np.isfinite(values).all())
    except ValueError:
        finite = False
    if not finite:
        # Cell by cell only now, to name the first bad one: the table has thousands of rows.
        row, text = next((row, text) for row, text in enumerate(texts, start=1) if not _is_number(text))
        raise TruthError(f'{path} has {text!r} in row {row} of {name}; correct it, or leave the column out')
    return values
