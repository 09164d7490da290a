"""Lists on the command line: which corruptions, which attacks, which numbers."""

from __future__ import annotations

import re

from nni_wcnas.measure.attack import ATTACKS
from nni_wcnas.measure.corruption import BENCHMARK, NAMES
from nni_wcnas.settings.problems import CommandError, did_you_mean

__all__ = ['attack_names', 'corruption_names', 'numbers']


def corruption_names(text: str) -> tuple[str, ...]:
    """Names with commas between, ``all``, or the published ``benchmark``; none in an empty text.

    Raises
    ------
    CommandError
        If there is no such corruption.
    """
    names = {'all': NAMES, 'benchmark': BENCHMARK}.get(text) or _words(text)
    for name in names:
        if name not in NAMES:
            raise CommandError(f'--corruptions: there is no corruption {name!r}; {did_you_mean(name, NAMES)}')
    return names


def attack_names(text: str) -> tuple[str, ...]:
    """Names with commas between; none in an empty text.

    Raises
    ------
    CommandError
        If there is no such attack.
    """
    names, known = _words(text), (*ATTACKS, 'autoattack')
    for name in names:
        if name not in known and not re.fullmatch(r'pgd_[1-9]\d*', name):
            raise CommandError(f'--attacks: there is no attack {name!r}; {did_you_mean(name, known)}')
    return names


def numbers(text: str, option: str) -> tuple[float, ...]:
    """Numbers with commas between; none in an empty text.

    Raises
    ------
    CommandError
        If a word is no number, or a severity no whole one.
    """
    try:
        found = tuple(float(word) for word in _words(text))
        if option == '--corruption-severities' and any(number not in (1, 2, 3, 4, 5) for number in found):
            raise ValueError
    except ValueError:
        raise CommandError(f'{option} {text}: give numbers with commas between, as 1,3,5') from None
    return found


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(',') if word.strip()))
