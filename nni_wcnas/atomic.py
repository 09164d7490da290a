"""Write a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ['write_atomically']


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file whole or not at all: a reader, or a killed writer, never sees half of it.

    Parameters
    ----------
    path
        The file; its folder is made if need be.
    content
        Text (written as UTF-8) or bytes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, as a file can be renamed atomically within one file system
    # only; hidden, so that no pattern finds it.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(temporary, 0o644)  # Temporary files are private; a result is not.
        os.replace(temporary, path)
    # Also after Ctrl-C: a half-written temporary file must not stay behind.
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
