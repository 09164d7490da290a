"""The tuner's search space, checked against the settings before anything starts.

Every key, every choice and the ends of every range are proposed once, and read as a trial reads a proposal. The space
of NNI's BatchTuner is a list of proposals under any key, each of which is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nni.common.hpo_utils.validation import common_search_space_types

from nni_wcnas.settings.problems import CommandError, Problem, SettingsError, did_you_mean
from nni_wcnas.settings.schema import AUTO
from nni_wcnas.settings.settings import load_settings

__all__ = ['check_form', 'check_proposals', 'refuse_overridden']


def check_form(space: Any, place: str, *, is_list: bool = False) -> None:
    """Refuse what does not have the form of an NNI search space.

    Parameters
    ----------
    space
        The space, as it was read from its file.
    place
        Name of the file that it is written in.
    is_list
        Whether it is BatchTuner's list of proposals.

    Raises
    ------
    SettingsError
        With all mistakes, one line each.
    """
    problems = list((_malformed_list if is_list else _malformed)(space, place))
    if problems:
        raise SettingsError(problems)


def check_proposals(
    space: Mapping[str, Any], place: str, settings: Path, overrides: list[str], *, is_list: bool = False
) -> None:
    """Refuse a space with proposals that a trial would refuse.

    Parameters
    ----------
    space
        NNI's search space, of the right form.
    place
        Name of the file that it is written in.
    settings
        The settings file of a trial, which is right without proposals.
    overrides
        Overrides ``key=value`` of the trial's command.
    is_list
        Whether it is BatchTuner's list of proposals.

    Raises
    ------
    SettingsError
        With all mistakes, one line each.
    """
    problems: list[Problem] = []
    built: set[str] = set()
    # Read just as a trial reads what its tuner proposes, so that what passes here does not fail there.
    for proposal in _listed(space) if is_list else _proposals(space):
        # Data and spaces take a while to build: a section that was built once with these values is not built again.
        touched = {name: repr(proposal[name]) for name in _SLOW if name in proposal}
        new = [name for name, value in touched.items() if f'{name} {value}' not in built]
        built |= {f'{name} {touched[name]}' for name in new}
        if 'data' not in new and _is_pretrained(proposal.get('tester')):
            # The file has to be for images of these data, so these are needed to check it.
            new.append('data')
        if 'space' in new:
            # The table of true values must have all architectures of the space.
            new.append('truth')
        # Method and tester are cheap to build, so they are built for every proposal.
        try:
            load_settings(settings, overrides, proposal, build=('method', 'tester', *new), proposer=place)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)


def _is_pretrained(tester: Any) -> bool:
    """Tell whether a proposed tester names a file of pre-training."""
    return isinstance(tester, Mapping) and tester.get('pretrained') not in (None, AUTO)


_SLOW = ('data', 'difficulty', 'space', 'auxiliary')
"""Sections that are built only if a proposal has them: the settings file's own were tried already."""


def refuse_overridden(
    space: Mapping[str, Any], place: str, overrides: list[str], *, is_list: bool = False
) -> None:
    """Refuse a ``--set`` on a key that the tuner proposes: it would silently do nothing.

    Raises
    ------
    CommandError
        Naming the key and the file of the space.
    """
    written = list(dict.fromkeys(_keys_of_list(space) if is_list else _keys(space)))
    for text in overrides:
        key = text.partition('=')[0]
        for proposed in written:
            # Also a section of which a part is proposed, and a part of what is proposed as a whole.
            if key == proposed or proposed.startswith(f'{key}.') or key.startswith(f'{proposed}.'):
                raise CommandError(
                    f'--set {text}: the tuner proposes {proposed} and would override it; leave --set out, or remove '
                    f'the key from {place}'
                )


def _malformed(space: Any, place: str, above: str = '') -> Iterator[Problem]:
    """Yield what is not of NNI's form ``{key: {_type, _value}}`` in a space, nested choices included."""
    if not isinstance(space, dict):
        yield Problem(place, above, f'is {space!r}; write keys of the settings, each with _type and _value')
        return
    for name, spec in space.items():
        key = f'{above}.{name}' if above else str(name)
        if name == '_name' and above:  # The name of a nested choice, which is no parameter.
            continue
        if not isinstance(spec, dict) or not {'_type', '_value'} <= spec.keys():
            yield Problem(place, key, f'is {spec!r}; write a map of _type and _value')
        elif spec['_type'] not in common_search_space_types:
            known = did_you_mean(spec['_type'], common_search_space_types)
            yield Problem(place, key, f'has the unknown _type {spec["_type"]!r}; {known}')
        elif spec['_type'] == 'choice' and isinstance(spec['_value'], list) and spec['_value']:
            # An option with a name may have parameters of its own, which are a space again.
            for value in filter(_is_option, spec['_value']):
                yield from _malformed(value, place, key)
        elif spec['_type'] == 'choice' or not _is_range(spec):
            yield Problem(place, key, f'has the _value {spec["_value"]!r}; write a list that fits {spec["_type"]}')


def _malformed_list(space: Any, place: str) -> Iterator[Problem]:
    """Yield a problem if a space is not of the form ``{any key: {_type: choice, _value: [map, ...]}}``."""
    specs = list(space.values()) if isinstance(space, dict) else []
    is_choice = len(specs) == 1 and isinstance(specs[0], dict) and specs[0].get('_type') == 'choice'
    rows = specs[0].get('_value') if is_choice else None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) and row for row in rows):
        yield Problem(
            place, '', 'is no list of trials for BatchTuner; write one key with _type: choice and a _value of maps'
        )


def _listed(space: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the proposals of BatchTuner's list."""
    (spec,) = space.values()
    return list(spec['_value'])


def _keys_of_list(space: Mapping[str, Any]) -> Iterator[str]:
    """Yield the dotted keys of the settings that the proposals of a list write; keys may come several times."""
    for row in _listed(space):
        for key, value in row.items():
            if not _is_option(value):
                yield key
                continue
            yield f'{key}.{"preset" if key == "method" else "name"}'
            yield from (f'{key}.{part}' for part in value if part != '_name')


def _is_option(value: Any) -> bool:
    """Tell whether a choice is an option with a name and perhaps parameters."""
    return isinstance(value, dict) and '_name' in value


def _is_range(spec: Mapping[str, Any]) -> bool:
    """Tell whether the values are the numbers that a type of NNI asks for.

    ``randint`` has a lower and an upper end, ``uniform`` and ``loguniform`` too; the normal ones have mean and
    deviation; those with a ``q`` in front have a step as well.
    """
    name, values = spec['_type'], spec['_value']
    count = 3 if name.startswith('q') else 2
    kind: Any = int if name == 'randint' else (int, float)
    if not (isinstance(values, list) and len(values) == count and all(isinstance(value, kind) for value in values)):
        return False
    if count == 3 and values[2] <= 0:
        return False
    if name.endswith('normal'):
        return values[1] > 0
    # A logarithm needs a positive lower end.
    return values[0] < values[1] and ('log' not in name or values[0] > 0)


def _proposals(space: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield proposals that hold every example of every key once.

    The first has the first example of each key, every other one differs from it in one key: as many as there are
    examples, not as many as there are combinations.
    """
    examples = {key: _examples(spec) for key, spec in space.items() if key != '_name'}
    first = {key: values[0] for key, values in examples.items()}
    if '_name' in space:  # A nested choice proposes its own name with its parameters.
        first = {'_name': space['_name'], **first}
    yield first
    for key, values in examples.items():
        yield from ({**first, key: value} for value in values[1:])


def _examples(spec: Mapping[str, Any]) -> list[Any]:
    """Return the examples of one parameter: every choice, or the ends of a range."""
    kind, values = spec['_type'], spec['_value']
    if kind == 'choice':
        return [example for value in values for example in (_proposals(value) if _is_option(value) else [value])]
    if kind == 'randint':
        return [values[0], values[1] - 1]  # NNI's upper end is not drawn.
    if kind.endswith('normal'):
        # A normal range has no ends: its middle stands for it. NNI gives a lognormal's in logarithms.
        return [math.exp(values[0]) if 'log' in kind else float(values[0])]
    return [float(values[0]), float(values[1])]


def _keys(space: Mapping[str, Any], above: str = '') -> Iterator[str]:
    """Yield the dotted keys of the settings that proposals of a space write."""
    for name, spec in space.items():
        key = f'{above}{name}'
        options = [value for value in spec['_value'] if _is_option(value)] if spec['_type'] == 'choice' else []
        if not options:
            yield key
            continue
        yield f'{key}.{"preset" if key == "method" else "name"}'
        for value in options:
            yield from _keys({part: below for part, below in value.items() if part != '_name'}, f'{key}.')
