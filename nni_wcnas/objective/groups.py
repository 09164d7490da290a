"""Which group each training example belongs to: read from a file, or given as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nni_wcnas.errors import InvalidArgument, InvalidFile

__all__ = ['read_groups']


def read_groups(groups: str | Path | Sequence[int]) -> Tensor:
    """Return the group of each training example, numbered anew from 0 without gaps, shape ``(N_train,)``, int64.

    Parameters
    ----------
    groups
        The numbers in the order of the training set, or a file that holds them: ``.npy``, or a text with one a line.

    Raises
    ------
    ValueError
        If there is no such file, or it holds something else.

    Examples
    --------
    >>> read_groups([7, 3, 7])
    tensor([1, 0, 1])
    """
    values = _read(Path(groups)) if isinstance(groups, (str, Path)) else np.asarray(groups)
    if values.dtype.kind not in 'iu' or values.ndim != 1 or not len(values):
        raise InvalidArgument(
            'groups', groups, 'give one whole number for each training example',
            reason=f'is {values.dtype} of shape {values.shape}',
        )
    # The inverse of `unique` is the rank of each number among those that occur: an index into a vector of groups.
    return torch.from_numpy(np.unique(values, return_inverse=True)[1].astype(np.int64))


def _read(path: Path) -> np.ndarray:
    """Read an array of whole numbers from a ``.npy`` file, or from a text with one a line."""
    if not path.is_file():
        raise InvalidFile('groups', path, 'pass the path of a .npy or a text file', reason='does not exist')
    try:
        if path.suffix == '.npy':
            # Without pickles, which would run code of the file.
            return np.asarray(np.load(path, allow_pickle=False))
        return np.loadtxt(path, dtype=np.int64, ndmin=1)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidFile(
            'groups', path, 'save it with numpy.save',
            reason='is neither a readable .npy array nor a text with a whole number a line',
        ) from error
