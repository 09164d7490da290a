"""Files of tensors and plain values: written whole or not at all, and read without executing pickled code."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch

from nni_wcnas.atomic import write_atomically
from nni_wcnas.errors import InvalidFile

__all__ = ['TensorFileError', 'read_tensors', 'write_tensors']


class TensorFileError(InvalidFile):
    """A file of tensors cannot be used; the message says which, why and what to do."""


def write_tensors(path: str | os.PathLike[str], content: Any) -> None:
    """Write tensors to a file, so that at any moment it is either the old one or the whole new one.

    Parameters
    ----------
    path
        The file; its folder is made if need be.
    content
        Tensors, numbers, strings, lists and maps: what :func:`read_tensors` reads back.

    Raises
    ------
    OSError
        As :func:`~nni_wcnas.atomic.write_atomically` does.
    """
    # In memory first: where the disk is full, torch's own writer reports an internal error of its archive.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getbuffer())


def read_tensors(path: str | os.PathLike[str], remedy: str, map_location: torch.device | str = 'cpu') -> Any:
    """Read what :func:`write_tensors` (or ``torch.save``) wrote, without executing pickled code.

    Parameters
    ----------
    path
        The file.
    remedy
        What to do about a file that cannot be used: the end of the message.
    map_location
        Device for the tensors.

    Returns
    -------
    The content. Tensors on the CPU are read from the disk when they are first used; changing them does not change the
    file.

    Raises
    ------
    TensorFileError
        If the file cannot be opened, was cut short, is damaged, or is something else.

    Examples
    --------
    >>> path = getfixture('tmp_path') / 'model.pt'
    >>> write_tensors(path, {'weight': torch.ones(2)})
    >>> read_tensors(path, 'train it again')['weight']
    tensor([1., 1.])
    """
    path = Path(path)
    try:
        with path.open('rb') as file:
            # Only archives can be mapped; files of torch before 1.6, as some published weights are, cannot.
            mapped = is_zipfile(file)
    except OSError as error:
        raise TensorFileError('path', path, remedy, reason=f'cannot be read ({error.strerror or error})') from error
    try:
        # weights_only: a file may come from elsewhere, and a pickle can run anything.
        return torch.load(path, map_location=map_location, weights_only=True, mmap=mapped)
    except Exception as error:  # torch's reader may raise anything about bytes that it does not expect.
        raise TensorFileError(
            'path', path, remedy,
            reason=f'is damaged, was cut short or is another kind of file ({type(error).__name__})',
        ) from error
