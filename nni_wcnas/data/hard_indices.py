"""Read the indices of the hard examples from a file: all examples that it lists are hard, and no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .error import DataError

__all__ = ['read_indices']


def read_indices(path: Path, count: int) -> Tensor:
    """Read the indices of some examples of a data set.

    Parameters
    ----------
    path
        Path of a ``.npy`` file of integers, or of a text file with one index a line.
    count
        The number of examples, N; an index is in ``[0, N)``.

    Returns
    -------
    Tensor
        The indices, int64, shape ``(K,)``, ascending, with K from 1 to N - 1.

    Raises
    ------
    DataError
        If the file cannot be read, lists no example or all, or has an index twice, outside the range, or that is no
        integer.
    """
    if not path.is_file():
        raise DataError(f'The file {path} does not exist; pass a .npy file, or a text file with one index a line.')
    indices = _from_array(path) if path.suffix == '.npy' else _from_text(path)
    # Ascending, so the first and the last value tell whether all are in range.
    values, times = np.unique(indices, return_counts=True)
    if not 0 < len(values) < count:
        raise DataError(f'{path} lists {len(values)} of {count} examples; list at least one, and leave a rest.')
    for value, problem in ((values[0], values[0] < 0), (values[-1], values[-1] >= count)):
        if problem:
            raise DataError(f'{path} lists example {value}, but there are 0 to {count - 1}; use indices of this set.')
    if (times > 1).any():
        raise DataError(f'{path} lists example {values[times > 1][0]} {times.max()} times; list each one once.')
    return torch.from_numpy(values.astype(np.int64))


def _from_array(path: Path) -> np.ndarray:
    """Read integers of shape ``(K,)`` from a ``.npy`` file, in any order and possibly repeated."""
    try:
        # Without pickles, which could run code.
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f'The file {path} is not a readable .npy array; save it with numpy.save.') from error
    # np.load returns an archive for a .npz file of this name.
    if not isinstance(array, np.ndarray) or array.dtype.kind not in 'iu' or array.ndim != 1:
        found = f'{array.dtype} of shape {array.shape}' if isinstance(array, np.ndarray) else 'several arrays'
        raise DataError(f'{path} holds {found}, but indices are integers in one dimension; save them as such.')
    return array


def _from_text(path: Path) -> np.ndarray:
    """Read integers of shape ``(K,)`` from a text with one a line; empty lines are skipped."""
    try:
        return np.array([int(line) for line in path.read_text(encoding='utf-8').splitlines() if line.strip()], np.int64)
    except (OSError, ValueError, OverflowError) as error:
        reason = ' '.join(str(error).split())
        raise DataError(f'{path} is no text of indices ({reason}); write one integer a line.') from error
