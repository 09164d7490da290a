"""What is wrong with a user's input: all of it at once, each with its place and remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ['CommandError', 'Problem', 'SettingsError', 'did_you_mean', 'for_settings']


class CommandError(Exception):
    """A command cannot go on; the message is one sentence for the user (exit code 2)."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    place: str
    """File and line, or the argument that the value came from."""
    key: str
    """Dotted key; empty for the file as a whole."""
    message: str
    """What is wrong, and what to do."""

    def __str__(self) -> str:
        return ': '.join(part for part in (self.place, self.key, self.message) if part)


class SettingsError(CommandError):
    """Settings are wrong; the message has one line a problem.

    Parameters
    ----------
    problems
        At least one.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__('\n'.join(map(str, self.problems)))


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The nearest known name as a question, else all of them.

    Examples
    --------
    >>> did_you_mean('widht', ['width', 'num_cells'])
    'did you mean width?'
    """
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.55)
    if near:
        return f'did you mean {near[0]}?'
    return f'known are {", ".join(known)}' if known else 'leave it out'


def for_settings(error: Exception) -> str:
    """The message of an error of the package on one line; arguments of Python also as settings spell them.

    Examples
    --------
    >>> for_settings(ValueError('CIFAR-10 was not found; pass download=True to fetch it.'))
    'CIFAR-10 was not found; pass download=True (in settings `download: true`) to fetch it'
    """
    text = ' '.join(str(error).split()).rstrip('.')
    return text.replace('download=True', 'download=True (in settings `download: true`)')
