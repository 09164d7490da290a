"""From a settings file to checked settings: every mistake in it is found, and all are told at once."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nni_wcnas.objective import WorstCase
from nni_wcnas.options import AXES, OPTIONS, list_options, option
from nni_wcnas.presets import PRESETS
from nni_wcnas.settings import assembly
from nni_wcnas.settings.building import SECTIONS, check_values
from nni_wcnas.settings.composition import MEMBERS, innermost, spell_out
from nni_wcnas.settings.consistency import LENGTHS, OF_B, inconsistent_numbers, is_without_b
from nni_wcnas.settings.document import Document, parse_value, read_document
from nni_wcnas.settings.members import arguments_of, check_arguments, defaults_of, validate
from nni_wcnas.settings.numbers import impossible_numbers
from nni_wcnas.settings.problems import CommandError, Problem, SettingsError
from nni_wcnas.settings.recipe_numbers import fill_in
from nni_wcnas.settings.schema import AUTO, AuxiliaryNumbers, SearchNumbers, Settings, versions
from nni_wcnas.strategy import Search

__all__ = ['differing_key', 'load_settings', 'resolved']

_PATHS = (
    ('data', 'root'), ('tester', 'pretrained'), ('auxiliary', 'pretrained'), ('difficulty', 'path'), ('truth', 'table'),
    ('directory',), ('method', 'objective', 'groups'),
)
_SUPPLIED = {'data': (), 'space': ('num_classes', 'num_labels'), 'tester': ('num_classes', 'image_size')}
_NOT_NUMBERS = (*MEMBERS, 'mutation_hooks')
_TYPED = ('search.', 'retrain.', 'difficulty.', 'auxiliary.', 'pretraining.')
"""Sections of plain values: a mistake in one key leaves the others sound."""


def load_settings(
    path: str | Path,
    overrides: Iterable[str] = (),
    parameters: Mapping[str, Any] | None = None,
    *,
    build: Collection[str] = SECTIONS,
    proposer: str = 'tuner',
) -> Settings:
    """Read, merge and check the settings of one trial.

    Parameters
    ----------
    path
        The settings file. Relative paths in it are relative to its folder.
    overrides
        ``key=value`` as on the command line; dotted keys, YAML values, paths relative to the working directory.
    parameters
        What a tuner proposes, over everything else: dotted keys, or nested choices
        ``{'method': {'_name': 'wcnas', 'trade_off': 0.5}}``. A choice of another name than the file's keeps those of
        the section's arguments that the new option takes too.
    build
        Which sections' parts to build once, to check the values of their arguments.
    proposer
        Who is blamed for mistakes in ``parameters``.

    Raises
    ------
    SettingsError
        With all problems, one line each.
    """
    document = read_document(path)
    _normalise(document, document.folder)
    for text in overrides:
        _override(document, text)
    _normalise(document, Path.cwd())
    if parameters:
        _propose(document, parameters, proposer)
        _normalise(document, document.folder)  # Of a trial, the folder that it runs in.
    fill_in(document)
    settings, problems = validate(Settings, document, (), document.values)
    problems = impossible_numbers(document, problems + _check_sections(document))
    settings = None if problems else settings
    keys = {problem.key for problem in problems}
    broken = {key.split('.')[0] for key in keys if not key.startswith(_TYPED)}
    sound = settings or _sound_part(document, broken, keys)
    wrong_numbers = inconsistent_numbers(document, sound, broken)
    if wrong_numbers:  # Told once: the parts below are checked with other numbers.
        problems += wrong_numbers
        sound = sound.model_copy(update=_stand_ins(wrong_numbers))
    problems += check_values(document, sound, broken | (set(SECTIONS) - set(build)))
    if problems or settings is None:
        raise SettingsError(problems)
    return settings


def resolved(settings: Settings) -> dict[str, Any]:
    """Everything that a run depends on, defaults and versions included; a settings file again."""
    plain, strategy = settings.plain(), assembly.make_strategy(settings)
    for name in ('monitoring', 'pretrained'):
        plain.pop(name, None)  # Of the run that wrote the file.
    if strategy.objective.needs_tester:
        plain.setdefault('tester', dict(assembly.DEFAULT_TESTER))
    if 'tester' in plain and not is_without_b(plain['tester']):
        arguments = assembly.auxiliary_arguments(settings)
        chosen = {key: arguments[key] for key in ('name', 'width') if arguments[key] is not None}
        plain['auxiliary'] = {**chosen, **plain['auxiliary']}
        if AUTO not in (plain['tester'].get('pretrained'), plain['auxiliary'].get('pretrained')):
            del plain['pretraining']  # It does nothing.
    else:
        del plain['auxiliary'], plain['pretraining']  # Nothing would be theirs.
    for kind in ('data', 'space', 'tester'):
        if kind in plain:
            defaults = defaults_of(option(kind, plain[kind]['name']).factory)
            supplied = _SUPPLIED[kind]  # The data's, not the factory's.
            plain[kind] = {**{key: value for key, value in defaults.items() if key not in supplied}, **plain[kind]}
    plain['data'].setdefault('seed', settings.seed)
    method = {name: getattr(strategy, name) for name in arguments_of(Search) if name not in _NOT_NUMBERS}
    method = {key: value for key, value in method.items() if value is not None}
    preset = settings.method.get('preset')
    if preset is not None:
        method = {**_preset_numbers(preset, settings, strategy), **method}
    plain['method'] = {**method, **settings.method, **_members(settings, strategy)}
    if is_without_b(plain.get('tester')):
        for section in (plain['method'], plain['method'].get('objective', {})):
            for key in OF_B:
                section.pop(key, None)
    return {**plain, 'versions': versions()}


def _preset_numbers(preset: str, settings: Settings, strategy: Search) -> dict[str, Any]:
    """Arguments of a preset that are not those of ``Search``, as far as they act."""
    arguments, objective = arguments_of(option('preset', preset).factory), arguments_of(WorstCase)
    numbers = defaults_of(option('preset', preset).factory)
    if 'objective' in settings.method:
        return {key: value for key, value in numbers.items() if key not in objective}
    return {**numbers, **{key: getattr(strategy.objective, key) for key in objective if key in arguments}}


def _members(settings: Settings, strategy: Search) -> dict[str, Any]:
    """The members that the settings name, or without a preset those of all axes, with their defaults."""
    sections = {axis: settings.method[axis] for axis in AXES if axis in settings.method}
    if 'preset' not in settings.method:
        names = {(row.axis, row.factory): row.name for row in OPTIONS}
        sections = {axis: {'name': names[axis, type(getattr(strategy, axis))]} for axis in AXES} | sections
    found: dict[str, Any] = {axis: _with_defaults(axis, section) for axis, section in sections.items()}
    if 'transforms' in settings.method:
        found['transforms'] = [_with_defaults('transform', section) for section in settings.method['transforms']]
    return found


def _with_defaults(axis: str, section: dict[str, Any]) -> dict[str, Any]:
    """A member with its default numbers, but for lengths, which are the search's."""
    defaults = defaults_of(option(axis, section['name']).factory)
    found = {**{key: value for key, value in defaults.items() if key not in LENGTHS}, **section}
    if 'inner' in section:
        found['inner'] = _with_defaults(axis, section['inner'])
    return found


def differing_key(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """The first dotted key in which two resolved settings differ, of those that change the result."""
    free = ('versions', 'directory', 'device', 'retrain', 'truth', 'monitoring', 'pretrained')
    before, after = _flat(old), _flat(new)
    for key in dict.fromkeys([*before, *after]):
        if key.split('.')[0] not in free and before.get(key) != after.get(key):
            return key
    return None


# ---------------------------------------- reading


def _normalise(document: Document, folder: Path) -> None:
    """Spell a bare name as a section, take in a space's file, make paths absolute."""
    values = document.values
    space = values.get('space')
    if isinstance(space, str) and space.endswith(('.yml', '.yaml')):
        document.include('space', read_document(folder / Path(space).expanduser()))
    for key in ('data', 'space', 'tester', 'auxiliary', 'method'):
        if isinstance(values.get(key), str):
            values[key] = {'preset' if key == 'method' else 'name': values[key]}
    if values.get('auxiliary', {}) is None:
        del values['auxiliary']
    method = values.get('method')
    if isinstance(method, dict):
        spell_out(method)
        _share_lengths(values, method.get('schedule'))
    for path in _PATHS:
        section: Any = values
        for key in path[:-1]:
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict) and isinstance(section.get(path[-1]), str) and (
            path[-1] != 'pretrained' or section['pretrained'] != AUTO
        ):
            section[path[-1]] = os.path.normpath(folder / Path(section[path[-1]]).expanduser())
    values.setdefault('directory', str(Path.cwd() / 'runs'))


def _share_lengths(values: dict[str, Any], schedule: Any) -> None:
    """Lengths that only the schedule gives are those of the search."""
    search, (schedule, _) = values.get('search', {}), innermost(schedule, ())
    lengths = {key: schedule[key] for key in LENGTHS if key in schedule} if isinstance(schedule, dict) else {}
    if lengths and isinstance(search, dict):
        values['search'] = {**lengths, **search}


def _override(document: Document, text: str) -> None:
    """One ``key=value`` of the command line."""
    key, equals, value = text.partition('=')
    if not equals or not key:
        raise CommandError(f'--set {text}: write key=value, e.g. --set search.epochs=3')
    document.replace(tuple(key.split('.')), parse_value(value), f'--set {text}')


def _propose(document: Document, parameters: Mapping[str, Any], place: str) -> None:
    """What a tuner proposes."""
    for key, value in parameters.items():
        path = tuple(key.split('.'))
        if isinstance(value, Mapping) and '_name' in value:
            name_key = 'preset' if path == ('method',) else 'name'
            _drop_foreign(document, path, name_key, value['_name'])
            for part, chosen in _chosen(value, name_key).items():
                document.replace((*path, part), chosen, place)
        elif isinstance(value, Mapping):
            for part, chosen in value.items():
                document.replace((*path, part), chosen, place)
        else:
            document.replace(path, value, place)


def _chosen(option: Mapping[str, Any], name_key: str = 'name') -> dict[str, Any]:
    """NNI's nested choices, as a settings file spells them."""
    return {
        name_key if key == '_name' else key: _chosen(value) if isinstance(value, Mapping) else value
        for key, value in option.items()
    }


def _drop_foreign(document: Document, path: tuple[str, ...], name_key: str, name: Any) -> None:
    """Before a section takes another option: drop the arguments that the new one does not know."""
    current: Any = document.values
    for part in path:
        current = current.get(part, {}) if isinstance(current, dict) else {}
    if not isinstance(current, dict) or current.get(name_key) == name:
        return
    try:
        accepted = set(arguments_of(option('preset' if name_key == 'preset' else path[-1], name).factory))
    except ValueError:
        return  # Unknown: said later, with everything else.
    if name_key == 'preset':
        accepted |= {*arguments_of(Search)}
    for key in [key for key in current if key not in accepted]:
        del current[key]


# ---------------------------------------- checking


def _check_sections(document: Document) -> list[Problem]:
    """Names of options, and names and types of their arguments."""
    problems: list[Problem] = []
    for kind, supplied in _SUPPLIED.items():
        if isinstance(document.values.get(kind), dict):
            problems += _check_member(document, (kind,), kind, supplied)
    method = document.values.get('method')
    if isinstance(method, dict):
        problems += _check_method(document, method)
    return problems


def _check_member(
    document: Document, path: tuple[str | int, ...], kind: str, supplied: Iterable[str] = ()
) -> list[Problem]:
    """One section ``{name: ..., arguments}``, and the member that it holds."""
    section: Any = document.values
    for key in path:
        section = section[key]
    if not isinstance(section, dict):
        return [document.problem(f'must be a name or a map with a name, not {section!r}; change it', *path)]
    if 'name' not in section:
        return [document.problem('has no name; add it, e.g. `name: ' + list_options(kind)[0] + '`', *path)]
    try:
        factory = option(kind, section['name']).factory
    except ValueError as error:
        return [document.problem(str(error), *path, 'name')]
    given = {key: value for key, value in section.items() if key != 'name'}
    arguments = arguments_of(factory)
    problems = check_arguments(document, path, given, arguments, supplied)
    if 'inner' in given and 'inner' in arguments:
        problems += _check_member(document, (*path, 'inner'), kind)
    return problems


def _check_method(document: Document, method: dict[str, Any]) -> list[Problem]:
    """A preset with its arguments, any axis overridden, and the numbers of ``Search``."""
    problems: list[Problem] = []
    arguments = {name: argument for name, argument in arguments_of(Search).items() if name not in _NOT_NUMBERS}
    if 'preset' in method:
        try:
            preset = arguments_of(option('preset', method['preset']).factory)
            base = PRESETS.get(str(method.get('base'))) if 'base' in preset else None
            arguments = (arguments_of(base) if base is not None else {}) | preset | arguments
        except ValueError as error:
            problems.append(document.problem(str(error), 'method', 'preset'))
            for name in list_options('preset'):  # Whichever is meant, its arguments are no mistake.
                arguments = arguments_of(option('preset', name).factory) | arguments
    known = {**arguments, 'preset': (str, None), **dict.fromkeys(MEMBERS, (Any, None))}
    found = check_arguments(document, ('method',), method, known)
    problems += found if 'preset' not in method else [_of_another_preset(document, problem) for problem in found]
    for axis in AXES:
        if axis in method:
            problems += _check_member(document, ('method', axis), axis)
    return problems + _check_transforms(document, method.get('transforms', []))


def _of_another_preset(document: Document, problem: Problem) -> Problem:
    """Where ``--set`` gave the preset alone, say what replaces the keys that the file wrote for its own."""
    place = document.places.get(('method', 'preset'), '')
    if place.startswith('--set') and 'is not a known key' in problem.message and not problem.place.startswith('--set'):
        preset = document.values['method']['preset']
        return replace(problem, message=f'{problem.message}; or give --set method={preset} in the place of {place}')
    return problem


def _check_transforms(document: Document, sections: Any) -> list[Problem]:
    """A list of members."""
    if not isinstance(sections, list):
        message = f'must be a list of names or maps, not {sections!r}; change it'
        return [document.problem(message, 'method', 'transforms')]
    return [
        problem
        for index in range(len(sections))
        for problem in _check_member(document, ('method', 'transforms', index), 'transform')
    ]


def _sound_part(document: Document, broken: set[str], keys: set[str]) -> Settings:
    """The settings with defaults in the place of what is broken, so that the rest can be checked too."""
    kept = {key: value for key, value in document.values.items() if key not in broken and key in Settings.model_fields}
    for section in kept.keys() & {name.rstrip('.') for name in _TYPED}:
        kept[section] = {key: value for key, value in kept[section].items() if f'{section}.{key}' not in keys}
    stand_ins = {'data': {'name': 'digits'}, 'space': {'name': 'darts'}, 'method': {'preset': 'darts'}}
    return Settings(**{**stand_ins, **kept})


def _stand_ins(problems: Iterable[Problem]) -> dict[str, Any]:
    """Sections in the place of those whose numbers do not go together."""
    is_auxiliary = any(problem.key.startswith('auxiliary') for problem in problems)
    return {'search': SearchNumbers(), **({'auxiliary': AuxiliaryNumbers()} if is_auxiliary else {})}


def _flat(value: Any, prefix: str = '') -> dict[str, Any]:
    """Dotted keys to scalars and lists."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, part in value.items():
        found |= _flat(part, f'{prefix}.{key}' if prefix else str(key))
    return found
