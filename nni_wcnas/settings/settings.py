"""From a settings file to checked settings: every mistake in it is found, and all are told at once.

The file is read as a document of plain values with their places, completed with the papers' numbers, and checked in
four rounds: names and types, numbers that are impossible, numbers that do not go together, and what the factories of
the parts refuse. What one round refuses gets a stand-in, so that the later rounds can check the rest.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nni_wcnas.options import AXES, list_options, option
from nni_wcnas.presets import PRESETS
from nni_wcnas.settings.building import SECTIONS, check_values
from nni_wcnas.settings.composition import MEMBERS, innermost, spell_out
from nni_wcnas.settings.consistency import LENGTHS, inconsistent_numbers
from nni_wcnas.settings.document import Document, parse_value, read_document
from nni_wcnas.settings.members import arguments_of, check_arguments, validate
from nni_wcnas.settings.numbers import impossible_numbers
from nni_wcnas.settings.problems import CommandError, Problem, SettingsError
from nni_wcnas.settings.recipe_numbers import fill_in
from nni_wcnas.settings.resolved import NOT_NUMBERS, SUPPLIED
from nni_wcnas.settings.schema import AUTO, AuxiliaryNumbers, SearchNumbers, Settings
from nni_wcnas.settings.trial import Trial
from nni_wcnas.strategy import Search

__all__ = ['load_settings', 'load_trial']

# Keys whose values are paths, which are made absolute.
_PATHS = (
    ('data', 'root'), ('tester', 'pretrained'), ('auxiliary', 'pretrained'), ('difficulty', 'path'), ('truth', 'table'),
    ('directory',), ('method', 'objective', 'groups'),
)
_TYPED = ('search.', 'retrain.', 'difficulty.', 'auxiliary.', 'pretraining.')
"""Beginnings of keys in sections of plain values, where a mistake in one key leaves the others sound."""


def load_settings(
    path: str | Path,
    overrides: Iterable[str] = (),
    parameters: Mapping[str, Any] | None = None,
    *,
    build: Collection[str] = SECTIONS,
    proposer: str = 'tuner',
) -> Settings:
    """Read, merge and check settings, as :func:`load_trial` does, where the parts that were built are not needed."""
    return load_trial(path, overrides, parameters, build=build, proposer=proposer).settings


def load_trial(
    path: str | Path,
    overrides: Iterable[str] = (),
    parameters: Mapping[str, Any] | None = None,
    *,
    build: Collection[str] = SECTIONS,
    proposer: str = 'tuner',
) -> Trial:
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
        Sections whose parts are built once, to check the values of their arguments.
    proposer
        Who is blamed for mistakes in ``parameters``.

    Returns
    -------
    Trial
        Complete and checked settings, with the parts that were built to check them.

    Raises
    ------
    SettingsError
        With all problems, one line each.
    """
    document = read_document(path)
    _normalise(document, document.folder)
    for text in overrides:
        _override(document, text)
    # Paths that are absolute already stay: only those of the command line are relative here.
    _normalise(document, Path.cwd())
    if parameters:
        _propose(document, parameters, proposer)
        # A tuner's relative paths start from the folder of the settings, in which a trial runs.
        _normalise(document, document.folder)
    # After all that the user says, as a recipe fills in only what nobody has said.
    fill_in(document)
    # Round one: keys and types of all sections, then names and arguments of the options that these name.
    settings, problems = validate(Settings, document, (), document.values)
    problems = impossible_numbers(document, problems + _check_sections(document))
    # From here on `settings` is what is returned, and `sound` what can be checked further.
    settings = None if problems else settings
    keys = {problem.key for problem in problems}
    # A section whose option or argument was refused cannot be built; one of plain values keeps its sound keys.
    broken = {key.split('.')[0] for key in keys if not key.startswith(_TYPED)}
    sound = settings or _sound_part(document, broken, keys)
    wrong_numbers = inconsistent_numbers(document, sound, broken)
    # Told once: the parts below are checked with other numbers.
    if wrong_numbers:
        problems += wrong_numbers
        sound = sound.model_copy(update=_stand_ins(wrong_numbers))
    # Last, as it takes longest, and as building parts from values of wrong types would tell every mistake twice.
    trial = Trial(sound)
    problems += check_values(document, trial, broken | (set(SECTIONS) - set(build)))
    if problems or settings is None:
        raise SettingsError(problems)
    return trial


# ---------------------------------------- reading


def _normalise(document: Document, folder: Path) -> None:
    """Spell bare names as sections, include a space's file, and make paths absolute; in place.

    Parameters
    ----------
    document
        The settings.
    folder
        Folder that relative paths start from.
    """
    values = document.values
    space = values.get('space')
    if isinstance(space, str) and space.endswith(('.yml', '.yaml')):
        document.include('space', read_document(folder / Path(space).expanduser()))
    for key in ('data', 'space', 'tester', 'auxiliary', 'method'):
        if isinstance(values.get(key), str):
            values[key] = {'preset' if key == 'method' else 'name': values[key]}
    if values.get('auxiliary', {}) is None:  # An empty section is none.
        del values['auxiliary']
    method = values.get('method')
    if isinstance(method, dict):
        spell_out(method)
        # After the members are spelt out, as a schedule may be a bare name.
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
    """Copy lengths that only the schedule gives to the search section, whose numbers the whole search follows."""
    search, (schedule, _) = values.get('search', {}), innermost(schedule, ())
    lengths = {key: schedule[key] for key in LENGTHS if key in schedule} if isinstance(schedule, dict) else {}
    if lengths and isinstance(search, dict):
        values['search'] = {**lengths, **search}


def _override(document: Document, text: str) -> None:
    """Write one ``key=value`` of the command line over the settings."""
    key, equals, value = text.partition('=')
    if not equals or not key:
        raise CommandError(f'--set {text}: write key=value, e.g. --set search.epochs=3')
    # Its place is the argument itself, so a mistake in it is told as `--set ...` and not as a line of the file.
    document.replace(tuple(key.split('.')), parse_value(value), f'--set {text}')


def _propose(document: Document, parameters: Mapping[str, Any], place: str) -> None:
    """Write what a tuner proposes over the settings.

    Parameters
    ----------
    document
        The settings.
    parameters
        The proposal: values by dotted key, and nested choices with a ``_name``.
    place
        Who is blamed for a mistake in it.
    """
    for key, value in parameters.items():
        path = tuple(key.split('.'))
        if isinstance(value, Mapping) and '_name' in value:
            name_key = 'preset' if path == ('method',) else 'name'
            _drop_foreign(document, path, name_key, value['_name'])
            for part, chosen in _chosen(value, name_key).items():
                document.replace((*path, part), chosen, place)
        # A map without a name changes some keys of a section, and leaves the others.
        elif isinstance(value, Mapping):
            for part, chosen in value.items():
                document.replace((*path, part), chosen, place)
        else:
            document.replace(path, value, place)


def _chosen(option: Mapping[str, Any], name_key: str = 'name') -> dict[str, Any]:
    """Spell one of NNI's nested choices as a settings file does: ``_name`` becomes ``name`` or ``preset``."""
    return {
        name_key if key == '_name' else key: _chosen(value) if isinstance(value, Mapping) else value
        for key, value in option.items()
    }


def _drop_foreign(document: Document, path: tuple[str, ...], name_key: str, name: Any) -> None:
    """Drop the arguments that a new option does not know, before a section takes it in the place of another.

    Parameters
    ----------
    document
        The settings.
    path
        Keys of the section.
    name_key
        Key of the option's name in it: ``'name'`` or ``'preset'``.
    name
        The new option.
    """
    current: Any = document.values
    for part in path:
        current = current.get(part, {}) if isinstance(current, dict) else {}
    # The same option again: its arguments stay.
    if not isinstance(current, dict) or current.get(name_key) == name:
        return
    try:
        accepted = set(arguments_of(option('preset' if name_key == 'preset' else path[-1], name).factory))
    except ValueError:
        return  # An unknown name is told later, with everything else.
    # The numbers of `Search` suit every preset.
    if name_key == 'preset':
        accepted |= {*arguments_of(Search)}
    for key in [key for key in current if key not in accepted]:
        del current[key]


# ---------------------------------------- checking


def _check_sections(document: Document) -> list[Problem]:
    """Check the names of options, and the names and types of their arguments, in all sections."""
    problems: list[Problem] = []
    for kind, supplied in SUPPLIED.items():
        if isinstance(document.values.get(kind), dict):
            problems += _check_member(document, (kind,), kind, supplied)
    method = document.values.get('method')
    if isinstance(method, dict):
        problems += _check_method(document, method)
    return problems


def _check_member(
    document: Document, path: tuple[str | int, ...], kind: str, supplied: Iterable[str] = ()
) -> list[Problem]:
    """Check one section ``{name: ..., argument: ...}``, and the member that it holds.

    Parameters
    ----------
    document
        The settings.
    path
        Keys that lead to the section.
    kind
        Axis of the option in the registry.
    supplied
        Arguments that need not be given.
    """
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
    """Check the method: a preset with its arguments, any member in its place, and the numbers of ``Search``."""
    problems: list[Problem] = []
    arguments = {name: argument for name, argument in arguments_of(Search).items() if name not in NOT_NUMBERS}
    if 'preset' in method:
        try:
            preset = arguments_of(option('preset', method['preset']).factory)
            # A preset that is applied to another one hands that one's arguments on.
            base = PRESETS.get(str(method.get('base'))) if 'base' in preset else None
            # Later ones win: an argument of `Search` has its type whatever a preset calls so.
            arguments = (arguments_of(base) if base is not None else {}) | preset | arguments
        except ValueError as error:
            problems.append(document.problem(str(error), 'method', 'preset'))
            # Whichever preset is meant, its arguments are no mistake.
            for name in list_options('preset'):
                arguments = arguments_of(option('preset', name).factory) | arguments
    known = {**arguments, 'preset': (str, None), **dict.fromkeys(MEMBERS, (Any, None))}
    found = check_arguments(document, ('method',), method, known)
    problems += found if 'preset' not in method else [_of_another_preset(document, problem) for problem in found]
    for axis in AXES:
        if axis in method:
            problems += _check_member(document, ('method', axis), axis)
    return problems + _check_transforms(document, method.get('transforms', []))


def _of_another_preset(document: Document, problem: Problem) -> Problem:
    """Add a remedy to a problem with an unknown key of the file, where ``--set`` replaced the file's preset alone."""
    place = document.places.get(('method', 'preset'), '')
    if place.startswith('--set') and 'is not a known key' in problem.message and not problem.place.startswith('--set'):
        preset = document.values['method']['preset']
        return replace(problem, message=f'{problem.message}; or give --set method={preset} in the place of {place}')
    return problem


def _check_transforms(document: Document, sections: Any) -> list[Problem]:
    """Check a list of transforms, member by member."""
    if not isinstance(sections, list):
        message = f'must be a list of names or maps, not {sections!r}; change it'
        return [document.problem(message, 'method', 'transforms')]
    return [
        problem
        for index in range(len(sections))
        for problem in _check_member(document, ('method', 'transforms', index), 'transform')
    ]


def _sound_part(document: Document, broken: set[str], keys: set[str]) -> Settings:
    """Make settings with defaults in the place of what is broken, so that the rest can be checked too.

    Parameters
    ----------
    document
        The settings.
    broken
        Sections to replace as a whole.
    keys
        Dotted keys that were refused; in sections of plain values only these are replaced.
    """
    kept = {key: value for key, value in document.values.items() if key not in broken and key in Settings.model_fields}
    for section in kept.keys() & {name.rstrip('.') for name in _TYPED}:
        kept[section] = {key: value for key, value in kept[section].items() if f'{section}.{key}' not in keys}
    # The smallest options, at hand on every machine. They stand only where the file's own cannot.
    stand_ins = {'data': {'name': 'digits'}, 'space': {'name': 'darts'}, 'method': {'preset': 'darts'}}
    return Settings(**{**stand_ins, **kept})


def _stand_ins(problems: Iterable[Problem]) -> dict[str, Any]:
    """Return default sections for those whose numbers do not go together."""
    # The search section always, as the parts are built with its numbers; the auxiliary one only if it is at fault.
    is_auxiliary = any(problem.key.startswith('auxiliary') for problem in problems)
    return {'search': SearchNumbers(), **({'auxiliary': AuxiliaryNumbers()} if is_auxiliary else {})}

