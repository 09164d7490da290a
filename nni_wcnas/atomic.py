"""Write a file whole or not at all.

A reader, a killed writer, a full disk and a power cut see either the old file or the whole new one::

    write .NAME.*.partial beside NAME  ->  flush it to the disk  ->  rename it to NAME  ->  flush the folder

What a killed writer leaves behind is removed by the next writer of the same file. A writer that is at work holds a lock
of the operating system on its partial file, which ends with the process: so its file is told from a remainder.
"""

from __future__ import annotations

import glob
import os
import tempfile
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, which refuses to remove a file that is open.
    fcntl = None  # type: ignore[assignment]

__all__ = ['write_atomically']


def write_atomically(path: str | os.PathLike[str], content: str | bytes | memoryview) -> None:
    """Write a file whole or not at all: a reader, or a killed writer, never sees half of it.

    Parameters
    ----------
    path
        The file; its folder is made if need be.
    content
        Text (written as UTF-8) or bytes.

    Raises
    ------
    OSError
        If the file cannot be written, as the disk is full or the folder read-only. The error carries the path and the
        reason; a file that was there before stays as it was.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_remainders(path)
        handle, partial = _open_partial(path)
        try:
            with open(handle, 'wb') as file:
                file.write(data)
                file.flush()
                os.chmod(partial, 0o644)  # Temporary files are private; a result is not.
                # Before the rename: after a power cut the new name must not stand for an empty file.
                os.fsync(file.fileno())
                if fcntl is None:
                    file.close()  # Windows renames no open file; elsewhere its lock must last until the rename.
                os.replace(partial, path)
        # Also after Ctrl-C: a half-written file must not stay behind.
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
        _flush_folder(path.parent)
    except OSError as error:
        if error.errno is None:
            raise
        # An error of writing names no file, one of opening the partial file: the reader knows `path` alone.
        raise OSError(error.errno, error.strerror, str(path)) from error


def _open_partial(path: Path) -> tuple[int, str]:
    """Make a locked file ``.NAME.*.partial`` beside a file; return its descriptor and its name."""
    while True:
        # In the same folder, as a file can be renamed atomically within one file system only; hidden from patterns.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.', suffix='.partial')
        if fcntl is not None:
            with suppress(OSError):  # A file system without locks: there nobody takes a file for a remainder, either.
                fcntl.flock(handle, fcntl.LOCK_EX)
        # Between the two lines above another writer may have taken it for a remainder.
        if os.path.exists(name):
            return handle, name
        os.close(handle)


def _remove_remainders(path: Path) -> None:
    """Remove the partial files that killed writers of a file left beside it; those at work keep theirs."""
    for remainder in path.parent.glob(f'.{glob.escape(path.name)}.*.partial'):
        with suppress(OSError):  # It is in use, has just become the file, or is not ours to remove.
            if fcntl is None:
                remainder.unlink()
                continue
            with remainder.open('rb') as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remainder.unlink()


def _flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the operating system can."""
    with suppress(OSError):  # Windows opens no folders, and some file systems flush none.
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
