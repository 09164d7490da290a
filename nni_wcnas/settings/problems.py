"""Mistakes in a user's input: each has its place and remedy, and all are told at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nni_wcnas.nearest_name import nearest_names

__all__ = ['CommandError', 'Problem', 'SettingsError', 'did_you_mean', 'for_settings']


class CommandError(Exception):
    """A command cannot go on; the message is one sentence for the user (exit code 2)."""


@dataclass(frozen=True)
class Problem:
    """One mistake in the settings: where, which key, and what to do."""

    place: str
    """File and line of the value, or the argument that it came from."""
    key: str
    """Dotted key of the value; empty for the file as a whole."""
    message: str
    """What is wrong, and what to do."""

    def __str__(self) -> str:
        return ': '.join(part for part in (self.place, self.key, self.message) if part)


class SettingsError(CommandError):
    """Settings are wrong; the message has one line a problem.

    Parameters
    ----------
    problems
        The problems, at least one; equal ones are told once.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__('\n'.join(map(str, self.problems)))


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return the nearest known name as a question, or all of them where none is near.

    Examples
    --------
    >>> did_you_mean('widht', ['width', 'num_cells'])
    'did you mean width?'
    """
    known = list(known)
    # Names that are less alike than this are no likely misspelling: then the reader gets all of them.
    near = nearest_names(name, known, most=1, likeness=0.55)
    if near:
        return f'did you mean {near[0]}?'
    return f'known are {", ".join(known)}' if known else 'leave it out'


def for_settings(error: Exception) -> str:
    """Return an error's message on one line, with arguments of Python also as settings spell them.

    Examples
    --------
    >>> for_settings(ValueError('CIFAR-10 was not found; pass download=True to fetch it.'))
    'CIFAR-10 was not found; pass download=True (in settings `download: true`) to fetch it'
    """
    text = ' '.join(str(error).split()).rstrip('.')
    return text.replace('download=True', 'download=True (in settings `download: true`)')
