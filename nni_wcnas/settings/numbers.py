"""Numbers that no setting can have, wherever in the settings they are written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from nni_wcnas.settings.document import Document
from nni_wcnas.settings.problems import Problem

__all__ = ['impossible_numbers']


def impossible_numbers(document: Document, problems: list[Problem]) -> list[Problem]:
    """Add the problems of numbers that are infinite, not a number, or negative in a model space.

    Model spaces may be NNI's, which do not look at the sign of a number.

    Parameters
    ----------
    document
        The settings as they were written.
    problems
        Problems that are known already. A key is blamed once, so what was said of an infinite value is replaced.
    """
    found = []
    for path, value in _numbers(document.values):
        if not math.isfinite(value):
            found.append(document.problem(f'must be a finite number, not {value}; change it', *path))
        elif value < 0 and path[0] == 'space':
            found.append(document.problem(f'must be 0 or more, not {value}; change it', *path))
    told = {problem.key for problem in found}
    return found + [problem for problem in problems if problem.key not in told]


def _numbers(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], float]]:
    """Yield every number below a value with its path of keys; true and false are no numbers."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _numbers(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _numbers(part, (*path, index))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value
