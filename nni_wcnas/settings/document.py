"""A YAML file as plain values that remember the file and line they came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from nni_wcnas.settings.problems import CommandError, Problem, SettingsError

__all__ = ['Document', 'parse_value', 'read_document']

Path_ = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """YAML with the numbers people write: 1e-3 is a float, a date is text."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ('tag:yaml.org,2002:timestamp', 'tag:yaml.org,2002:float')
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float',
    re.compile(
        r'^[-+]?(\d[\d_]*\.[\d_]*([eE][-+]?\d+)?|\.\d[\d_]*([eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.(inf|Inf|INF))$'
        r'|^\.(nan|NaN|NAN)$'
    ),
    list('-+0123456789.'),
)


class Document:
    """Nested plain values, and where each of them was written.

    Parameters
    ----------
    values
        Maps, lists and scalars.
    places
        ``file:line`` by path of keys; a value without a place of its own has its parent's.
    folder
        What relative paths in the document are relative to.
    """

    def __init__(self, values: dict[str, Any], places: dict[Path_, str], folder: Path) -> None:
        self.values, self.places, self.folder = values, places, folder

    def place(self, *path: str | int) -> str:
        """Where the value at ``path`` was written, or the nearest thing around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return ''

    def problem(self, message: str, *path: str | int) -> Problem:
        """A problem with the value at ``path``."""
        return Problem(self.place(*path), '.'.join(map(str, path)), message)

    def replace(self, path: Path_, value: Any, place: str) -> None:
        """Put a value somewhere, with the maps on its way; earlier places below it are forgotten."""
        at = self.values
        for depth, key in enumerate(path[:-1], start=1):
            if key not in at:
                at[str(key)], self.places[path[:depth]] = {}, place
            at = at[str(key)]
            if not isinstance(at, dict):
                message = f'{key} holds {at!r} and no keys; set {key} as a whole'
                raise SettingsError([Problem(place, '.'.join(map(str, path)), message)])
        at[str(path[-1])] = value
        self.places = {known: there for known, there in self.places.items() if known[: len(path)] != path}
        self.places[path] = place

    def merge(self, parameters: Mapping[str, Any], place: str, *, path: Path_ = ()) -> None:
        """Write parameters over the values, map by map."""
        for key, value in parameters.items():
            if isinstance(value, Mapping):
                self.merge(value, place, path=(*path, key))
            else:
                self.replace((*path, key), value, place)

    def include(self, key: str, other: Document) -> None:
        """Put another document under a key."""
        self.replace((key,), other.values, self.place(key))
        self.places |= {(key, *path): place for path, place in other.places.items() if path}


def read_document(path: str | Path) -> Document:
    """Read a YAML file.

    Raises
    ------
    SettingsError
        When it cannot be read, is not YAML or not a map, or has a key twice (all such keys are named).
    """
    path = Path(path)
    try:
        node = yaml.compose(path.read_text(encoding='utf-8'), Loader=_Loader)
    except OSError as error:
        raise SettingsError([Problem(str(path), '', f'cannot be read ({error.strerror}); check the path')]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([Problem(str(path), '', 'is not a text file in UTF-8; give a YAML file')]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f'{path}:{mark.line + 1}' if mark else str(path)
        raise SettingsError(
            [Problem(place, '', f'is not YAML ({error.problem}); check the indentation, colons and quotes')]
        ) from error
    except yaml.YAMLError as error:
        raise SettingsError([Problem(str(path), '', 'is not YAML; give a text file of keys and values')]) from error
    if not isinstance(node, yaml.MappingNode):
        raise SettingsError([Problem(str(path), '', 'holds no keys; write lines like `seed: 0`')])
    places: dict[Path_, str] = {(): str(path)}
    problems: list[Problem] = []
    for keys, line, duplicate in _walk(node):
        if duplicate:
            problems.append(Problem(f'{path}:{line}', '.'.join(map(str, keys)), 'is written twice; keep one of them'))
        places[keys] = f'{path}:{line}'
    if problems:
        raise SettingsError(problems)
    loader = _Loader('')
    try:
        values = loader.construct_document(node)
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise SettingsError(
            [Problem(str(path), '', f'holds something other than plain values ({_first_line(error)}); remove it')]
        ) from error
    return Document(_with_text_keys(values), places, path.resolve().parent)


def parse_value(text: str) -> Any:
    """Read one value as YAML does.

    Examples
    --------
    >>> parse_value('3e-4'), parse_value('[1, 2]'), parse_value('tied')
    (0.0003, [1, 2], 'tied')
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise CommandError(f'{text!r} is not a YAML value; quote it') from error


def _walk(node: yaml.Node, path: Path_ = ()) -> Iterator[tuple[Path_, int, bool]]:
    """Path and line of everything below a node, and whether the key was there before."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            here = (*path, name)
            yield here, key.start_mark.line + 1, name in seen
            seen.add(name)
            yield from _walk(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            here = (*path, index)
            yield here, value.start_mark.line + 1, False
            yield from _walk(value, here)


def _with_text_keys(value: Any) -> Any:
    """Keys as text: a key that looks like a number is still a key."""
    if isinstance(value, dict):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
