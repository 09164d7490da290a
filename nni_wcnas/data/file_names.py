"""Hash the names and sizes of files, by class."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from .error import DataError

__all__ = ['digest_by_class', 'names_and_sizes']


def names_and_sizes(paths: tuple[Path, ...]) -> list[str]:
    """Describe files by name, below the folder that all share, and size in bytes.

    Raises
    ------
    DataError
        If a file is missing.
    """
    # Class folders are at least two, so the shared folder holds them: their names count, the data's place does not.
    shared = os.path.commonpath([path.parent for path in paths])
    try:
        return [f'{path.relative_to(shared).as_posix()}\0{path.stat().st_size}\n' for path in paths]
    except OSError as error:
        raise DataError(f'The image {error.filename} cannot be read ({error.strerror}); restore it.') from error


def digest_by_class(chunks: list[str], labels: list[int], num_classes: int) -> list[str]:
    """Hash the descriptions of each class's images, in their order."""
    digests = [hashlib.sha256() for _ in range(num_classes)]
    for chunk, label in zip(chunks, labels, strict=True):
        digests[label].update(chunk.encode(errors='surrogateescape'))
    return [digest.hexdigest() for digest in digests]
