"""The known names that a misspelt one looks most like, for messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ['nearest_name', 'nearest_names']


def nearest_name(name: object, known: Iterable[str]) -> str:
    """Return the known name that looks most like this one, however little; an empty string where none is known.

    Parameters
    ----------
    name
        What was written; anything but a string is compared as it prints.
    known
        The names that exist.

    Examples
    --------
    >>> nearest_name('sep_conv3x3', ['skip_connect', 'sep_conv_3x3'])
    'sep_conv_3x3'
    """
    return next(iter(nearest_names(name, known, most=1, likeness=0.0)), '')


def nearest_names(name: object, known: Iterable[str], *, most: int, likeness: float = 0.6) -> list[str]:
    """Return the known names that look like this one, the most alike first.

    Parameters
    ----------
    name
        What was written; anything but a string is compared as it prints.
    known
        The names that exist.
    most
        Largest number of names to return.
    likeness
        Least share of equal letters, 0 to 1: with 0.6 half-known names still find theirs, foreign words find nothing.

    Examples
    --------
    >>> nearest_names('resnet', ['resnet18', 'vgg', 'resnet50'], most=2)
    ['resnet50', 'resnet18']
    """
    return difflib.get_close_matches(str(name), list(known), n=most, cutoff=likeness)
