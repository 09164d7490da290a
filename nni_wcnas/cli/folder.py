"""Making the folders that a command writes into."""

from __future__ import annotations

from pathlib import Path

from nni_wcnas.settings.problems import CommandError

__all__ = ['make_folder']


def make_folder(path: Path, remedy: str) -> None:
    """Make a folder and those above it, unless they are there.

    Raises
    ------
    CommandError
        When a file is in the way, or the folder may not be written; the message ends in the remedy.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f'{path} cannot be a folder ({error.strerror}); {remedy}') from error
