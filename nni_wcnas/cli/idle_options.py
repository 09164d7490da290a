"""Options of ``nni-wcnas evaluate`` that would do nothing: refused, so that nobody believes that they acted."""

from __future__ import annotations

import argparse

from nni_wcnas.measure.hard_images import NONE, REFERENCE
from nni_wcnas.settings.problems import CommandError

__all__ = ['refuse_idle_options']

_NEEDS = {
    'kind': ('difficulty',),
    'cifar_c': ('corruptions',),
    'corruption_severities': ('corruptions', 'imagenet_c'),
    'corruption_limit': ('corruptions', 'imagenet_c'),
    'attack_limit': ('attacks', 'attack_epsilons'),
    'attack_epsilon': ('attacks',),
}
"""Options by name, each with others of which one must be given, too."""
# Options that are lists with commas, and attacks that have no epsilon.
_LISTS = ('corruptions', 'corruption_severities', 'attacks', 'attack_epsilons')
_WITHOUT_EPSILON = {'cw_l2'}


def refuse_idle_options(arguments: argparse.Namespace) -> None:
    """Check options against each other; one that was not given is None.

    Raises
    ------
    CommandError
        One sentence that names the option, and what it needs.
    """
    # The parser's default of all these options is None, so a value says that the option was given.
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    for name in _LISTS:
        if name in given and not _words(given[name]):
            raise CommandError(f'{_option(name)} {given[name]!r} lists nothing; list something, or leave it out')
    for name, needs in _NEEDS.items():
        if name in given and given.keys().isdisjoint(needs):
            raise CommandError(f'{_option(name)} does nothing without {" or ".join(map(_option, needs))}; give that, '
                               'too, or leave it out')
    if 'kind' in given and given['difficulty'] in (NONE, REFERENCE):
        raise CommandError(f'--kind does nothing with --difficulty {given["difficulty"]}, which is no file; leave it '
                           'out')
    if 'attack_epsilon' in given and _words(given['attacks']) <= _WITHOUT_EPSILON:
        raise CommandError(f'--attack-epsilon does nothing with --attacks {given["attacks"]}, which has none; leave it '
                           'out')


def _words(text: str) -> set[str]:
    """Return the words of a list with commas."""
    return {word.strip() for word in text.split(',')} - {''}


def _option(name: str) -> str:
    """Write the name of an argument as the option that the user types."""
    return f'--{name.replace("_", "-")}'
