"""Reading lists on the command line: names of corruptions, names of attacks, and numbers."""

from __future__ import annotations

import re

from nni_wcnas.measure.attack import ATTACKS
from nni_wcnas.measure.corruption import BENCHMARK, NAMES
from nni_wcnas.settings.problems import CommandError, did_you_mean

__all__ = ['attack_names', 'corruption_names', 'numbers']


def corruption_names(text: str) -> tuple[str, ...]:
    """Read names of corruptions with commas between, ``all``, or the published ``benchmark``; none from an empty text.

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
    """Read names of attacks with commas between; none from an empty text.

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
    """Read numbers with commas between; none from an empty text.

    Parameters
    ----------
    text
        The list.
    option
        Option that it was given to, for the message; severities have to be whole numbers from 1 to 5.

    Raises
    ------
    CommandError
        If a word is no number, or no severity where severities are asked for.
    """
    try:
        found = tuple(float(word) for word in _words(text))
        if option == '--corruption-severities' and any(number not in (1, 2, 3, 4, 5) for number in found):
            raise ValueError
    except ValueError:
        raise CommandError(f'{option} {text}: give numbers with commas between, as 1,3,5') from None
    return found


def _words(text: str) -> tuple[str, ...]:
    """Return the words of a list with commas, each once."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(',') if word.strip()))
