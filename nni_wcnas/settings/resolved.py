"""Settings with everything spelt out, as a run writes them down and compares them when it is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nni_wcnas.objective import WorstCase
from nni_wcnas.options import AXES, OPTIONS, option
from nni_wcnas.settings import assembly
from nni_wcnas.settings.composition import MEMBERS
from nni_wcnas.settings.consistency import LENGTHS, OF_B, is_without_b
from nni_wcnas.settings.members import arguments_of, defaults_of
from nni_wcnas.settings.schema import AUTO, Settings, versions
from nni_wcnas.strategy import Search

__all__ = ['NOT_NUMBERS', 'SUPPLIED', 'differing_key', 'resolved']

SUPPLIED: dict[str, tuple[str, ...]] = {
    'data': (), 'space': ('num_classes', 'num_labels'), 'tester': ('num_classes', 'image_size'),
}
"""By section, the arguments that are filled in from the data."""
NOT_NUMBERS = (*MEMBERS, 'mutation_hooks')
"""Arguments of ``Search`` that are members or functions, which a settings file cannot hold as plain numbers."""


def resolved(settings: Settings, strategy: Search | None = None) -> dict[str, Any]:
    """Spell out everything that a run depends on, defaults and versions included; the result is a settings file again.

    A resumed run compares this with what it wrote before. So numbers that do nothing are left out: they may change.

    Parameters
    ----------
    settings
        Checked settings.
    strategy
        Their strategy, not yet used; None builds it.

    Returns
    -------
    dict
        Plain values.
    """
    plain = settings.plain()
    strategy = assembly.make_strategy(settings) if strategy is None else strategy
    for name in ('monitoring', 'pretrained'):
        plain.pop(name, None)  # They belong to the run that wrote the file.
    if strategy.objective.needs_tester:
        plain.setdefault('tester', dict(assembly.DEFAULT_TESTER))
    if 'tester' in plain and not is_without_b(plain['tester']):
        arguments = assembly.auxiliary_arguments(settings)
        chosen = {key: arguments[key] for key in ('name', 'width') if arguments[key] is not None}
        plain['auxiliary'] = {**chosen, **plain['auxiliary']}
        if AUTO not in (plain['tester'].get('pretrained'), plain['auxiliary'].get('pretrained')):
            del plain['pretraining']  # Nothing is pre-trained, so it does nothing.
    else:
        del plain['auxiliary'], plain['pretraining']  # There is no B, and so no V.
    for kind in ('data', 'space', 'tester'):
        if kind in plain:
            defaults = defaults_of(option(kind, plain[kind]['name']).factory)
            supplied = SUPPLIED[kind]  # These values are the data's, not the factory's.
            plain[kind] = {**{key: value for key, value in defaults.items() if key not in supplied}, **plain[kind]}
    plain['data'].setdefault('seed', settings.seed)
    method = {name: getattr(strategy, name) for name in arguments_of(Search) if name not in NOT_NUMBERS}
    method = {key: value for key, value in method.items() if value is not None}
    preset = settings.method.get('preset')
    # Numbers of the built strategy go over the preset's own defaults, for which it may take its data set's.
    if preset is not None:
        method = {**_preset_numbers(preset, settings, strategy), **method}
    plain['method'] = {**method, **settings.method, **_members(settings, strategy)}
    # Keys that act on B alone do nothing here.
    if is_without_b(plain.get('tester')):
        for section in (plain['method'], plain['method'].get('objective', {})):
            for key in OF_B:
                section.pop(key, None)
    return {**plain, 'versions': versions()}


def _preset_numbers(preset: str, settings: Settings, strategy: Search) -> dict[str, Any]:
    """Return the arguments of a preset that act, with the values that its objective has.

    Where the settings name another objective, the arguments of the preset's own one do nothing and are left out.
    """
    arguments, objective = arguments_of(option('preset', preset).factory), arguments_of(WorstCase)
    numbers = defaults_of(option('preset', preset).factory)
    if 'objective' in settings.method:
        return {key: value for key, value in numbers.items() if key not in objective}
    return {**numbers, **{key: getattr(strategy.objective, key) for key in objective if key in arguments}}


def _members(settings: Settings, strategy: Search) -> dict[str, Any]:
    """Spell out the members that the settings name, or without a preset those of all axes, with their defaults."""
    sections = {axis: settings.method[axis] for axis in AXES if axis in settings.method}
    if 'preset' not in settings.method:
        # The registry backwards: from the class of a neutral member to its name.
        names = {(row.axis, row.factory): row.name for row in OPTIONS}
        sections = {axis: {'name': names[axis, type(getattr(strategy, axis))]} for axis in AXES} | sections
    found: dict[str, Any] = {axis: _with_defaults(axis, section) for axis, section in sections.items()}
    if 'transforms' in settings.method:
        found['transforms'] = [_with_defaults('transform', section) for section in settings.method['transforms']]
    return found


def _with_defaults(axis: str, section: dict[str, Any]) -> dict[str, Any]:
    """Spell out a member with its default numbers, except for lengths, which are the search's."""
    defaults = defaults_of(option(axis, section['name']).factory)
    found = {**{key: value for key, value in defaults.items() if key not in LENGTHS}, **section}
    if 'inner' in section:
        found['inner'] = _with_defaults(axis, section['inner'])
    return found


def differing_key(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Return the first dotted key that changes the result of a search and differs between two resolved settings.

    Returns
    -------
    str or None
        None where the settings give the same search.
    """
    # What the retraining, the judging and the files of a run are told may change between two starts of a search.
    free = ('versions', 'directory', 'device', 'retrain', 'truth', 'monitoring', 'pretrained')
    before, after = _flat(old), _flat(new)
    for key in dict.fromkeys([*before, *after]):
        # A key that only one of them has differs, too.
        if key.split('.')[0] not in free and before.get(key) != after.get(key):
            return key
    return None


def _flat(value: Any, prefix: str = '') -> dict[str, Any]:
    """Flatten nested maps to scalars and lists by dotted key."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, part in value.items():
        found |= _flat(part, f'{prefix}.{key}' if prefix else str(key))
    return found
