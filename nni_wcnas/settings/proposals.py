"""The tuner's search space, checked against the settings before anything starts.

Every key, every choice and the ends of every range are proposed once, and read as a trial reads a proposal. NNI's
BatchTuner has no space but a list of proposals under any key, each of which is read.
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
    """Refuse what is no search space of NNI's.

    Parameters
    ----------
    space
        The space.
    place
        The file that it is written in.
    is_list
        It is BatchTuner's list of proposals.

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
    """Refuse a space whose proposals hold a mistake.

    Parameters
    ----------
    space
        NNI's search space, of the right form.
    place
        The file that it is written in.
    settings
        The settings file of a trial, which is right without proposals.
    overrides
        ``key=value`` of the trial's command.
    is_list
        It is BatchTuner's list of proposals.

    Raises
    ------
    SettingsError
        With all mistakes, one line each.
    """
    problems: list[Problem] = []
    built: set[str] = set()
    for proposal in _listed(space) if is_list else _proposals(space):
        # Data and spaces take a while: those that were built once are not built again.
        touched = {name: repr(proposal[name]) for name in _SLOW if name in proposal}
        new = [name for name, value in touched.items() if f'{name} {value}' not in built]
        built |= {f'{name} {touched[name]}' for name in new}
        if 'data' not in new and _is_pretrained(proposal.get('tester')):
            new.append('data')  # Whose images the file must be for.
        if 'space' in new:
            new.append('truth')  # Whose table must have its architectures.
        try:
            load_settings(settings, overrides, proposal, build=('method', 'tester', *new), proposer=place)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)


def _is_pretrained(tester: Any) -> bool:
    return isinstance(tester, Mapping) and tester.get('pretrained') not in (None, AUTO)


_SLOW = ('data', 'difficulty', 'space', 'auxiliary')
"""Sections that are built if a proposal has them: the settings file's own were tried already."""


def refuse_overridden(
    space: Mapping[str, Any], place: str, overrides: list[str], *, is_list: bool = False
) -> None:
    """Refuse a ``--set`` on what the tuner proposes: it would silently do nothing.

    Raises
    ------
    CommandError
        Naming the key and the file of the space.
    """
    written = list(dict.fromkeys(_keys_of_list(space) if is_list else _keys(space)))
    for text in overrides:
        key = text.partition('=')[0]
        for proposed in written:
            if key == proposed or proposed.startswith(f'{key}.') or key.startswith(f'{proposed}.'):
                raise CommandError(
                    f'--set {text}: the tuner proposes {proposed} and would override it; leave --set out, or remove '
                    f'the key from {place}'
                )


def _malformed(space: Any, place: str, above: str = '') -> Iterator[Problem]:
    """What is not of NNI's form, nested choices included."""
    if not isinstance(space, dict):
        yield Problem(place, above, f'is {space!r}; write keys of the settings, each with _type and _value')
        return
    for name, spec in space.items():
        key = f'{above}.{name}' if above else str(name)
        if name == '_name' and above:
            continue
        if not isinstance(spec, dict) or not {'_type', '_value'} <= spec.keys():
            yield Problem(place, key, f'is {spec!r}; write a map of _type and _value')
        elif spec['_type'] not in common_search_space_types:
            known = did_you_mean(spec['_type'], common_search_space_types)
            yield Problem(place, key, f'has the unknown _type {spec["_type"]!r}; {known}')
        elif spec['_type'] == 'choice' and isinstance(spec['_value'], list) and spec['_value']:
            for value in filter(_is_option, spec['_value']):
                yield from _malformed(value, place, key)
        elif spec['_type'] == 'choice' or not _is_range(spec):
            yield Problem(place, key, f'has the _value {spec["_value"]!r}; write a list that fits {spec["_type"]}')


def _malformed_list(space: Any, place: str) -> Iterator[Problem]:
    """What is not of the form ``{any key: {_type: choice, _value: [map, ...]}}``."""
    specs = list(space.values()) if isinstance(space, dict) else []
    is_choice = len(specs) == 1 and isinstance(specs[0], dict) and specs[0].get('_type') == 'choice'
    rows = specs[0].get('_value') if is_choice else None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) and row for row in rows):
        yield Problem(
            place, '', 'is no list of trials for BatchTuner; write one key with _type: choice and a _value of maps'
        )


def _listed(space: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The proposals of BatchTuner's list."""
    (spec,) = space.values()
    return list(spec['_value'])


def _keys_of_list(space: Mapping[str, Any]) -> Iterator[str]:
    """Dotted keys of the settings that the proposals of a list write."""
    for row in _listed(space):
        for key, value in row.items():
            if not _is_option(value):
                yield key
                continue
            yield f'{key}.{"preset" if key == "method" else "name"}'
            yield from (f'{key}.{part}' for part in value if part != '_name')


def _is_option(value: Any) -> bool:
    return isinstance(value, dict) and '_name' in value


def _is_range(spec: Mapping[str, Any]) -> bool:
    """Whether the values are the numbers that a type of NNI asks for."""
    name, values = spec['_type'], spec['_value']
    count = 3 if name.startswith('q') else 2
    kind: Any = int if name == 'randint' else (int, float)
    if not (isinstance(values, list) and len(values) == count and all(isinstance(value, kind) for value in values)):
        return False
    if count == 3 and values[2] <= 0:
        return False
    if name.endswith('normal'):
        return values[1] > 0
    return values[0] < values[1] and ('log' not in name or values[0] > 0)


def _proposals(space: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The first example of every key, then each other example in its place."""
    examples = {key: _examples(spec) for key, spec in space.items() if key != '_name'}
    first = {key: values[0] for key, values in examples.items()}
    if '_name' in space:
        first = {'_name': space['_name'], **first}
    yield first
    for key, values in examples.items():
        yield from ({**first, key: value} for value in values[1:])


def _examples(spec: Mapping[str, Any]) -> list[Any]:
    """Every choice, or the ends of a range."""
    kind, values = spec['_type'], spec['_value']
    if kind == 'choice':
        return [example for value in values for example in (_proposals(value) if _is_option(value) else [value])]
    if kind == 'randint':
        return [values[0], values[1] - 1]
    if kind.endswith('normal'):
        return [math.exp(values[0]) if 'log' in kind else float(values[0])]
    return [float(values[0]), float(values[1])]


def _keys(space: Mapping[str, Any], above: str = '') -> Iterator[str]:
    """Dotted keys of the settings that proposals write."""
    for name, spec in space.items():
        key = f'{above}{name}'
        options = [value for value in spec['_value'] if _is_option(value)] if spec['_type'] == 'choice' else []
        if not options:
            yield key
            continue
        yield f'{key}.{"preset" if key == "method" else "name"}'
        for value in options:
            yield from _keys({part: below for part, below in value.items() if part != '_name'}, f'{key}.')
