"""A YAML file as plain values, each of which has the file and line that it came from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from nni_wcnas.settings.problems import CommandError, Problem, SettingsError

__all__ = ['Document', 'parse_value', 'read_document']

Path_ = tuple[str | int, ...]
"""Keys and indices that lead to a value."""


class _Loader(yaml.SafeLoader):
    """YAML with the numbers that people write: 1e-3 is a float, 010 is ten, 1:30 and a date are text, as in YAML 1.2.

    YAML 1.1 takes 1e-3, which has no point, for text, 010 for eight, 1:30 for ninety and 2024-01-01 for a date.
    """


_Loader.yaml_implicit_resolvers = {
    # A table of its own: changing that of SafeLoader would change YAML for the whole process.
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ('tag:yaml.org,2002:timestamp', 'tag:yaml.org,2002:float', 'tag:yaml.org,2002:int')
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float',
    re.compile(
        # Digits with a point, a point before digits, digits with an exponent alone, infinity; and not a number.
        r'^[-+]?(\d[\d_]*\.[\d_]*([eE][-+]?\d+)?|\.\d[\d_]*([eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.(inf|Inf|INF))$'
        r'|^\.(nan|NaN|NAN)$'
    ),
    list('-+0123456789.'),
)
_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:int', re.compile(r'^[-+]?\d[\d_]*$|^0x[\da-fA-F_]+$|^0o[0-7_]+$'), list('-+0123456789')
)
_Loader.add_constructor(
    'tag:yaml.org,2002:int',
    # Leading zeros mean nothing; hexadecimal and octal numbers say what they are.
    lambda loader, node: int(node.value, 0 if node.value[:2] in ('0x', '0o') else 10),
)
_PLAIN = {f'tag:yaml.org,2002:{kind}' for kind in ('map', 'seq', 'str', 'int', 'float', 'bool', 'null')}


class Document:
    """Nested plain values, and the place where each of them was written.

    Parameters
    ----------
    values
        Maps, lists and scalars, nested.
    places
        ``file:line`` by path of keys, or the argument or preset that gave a value; a value without a place has its
        parent's.
    folder
        Folder that relative paths in the document start from.
    """

    def __init__(self, values: dict[str, Any], places: dict[Path_, str], folder: Path) -> None:
        self.values, self.places, self.folder = values, places, folder

    def place(self, *path: str | int) -> str:
        """Return the place where the value at ``path`` was written, or else the nearest thing around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:  # From the value itself outwards to the file.
                return self.places[path[:length]]
        return ''

    def problem(self, message: str, *path: str | int) -> Problem:
        """Make a problem with the value at ``path``, at its place."""
        return Problem(self.place(*path), '.'.join(map(str, path)), message)

    def replace(self, path: Path_, value: Any, place: str) -> None:
        """Put a value at a path, and make the maps on the way to it.

        Parameters
        ----------
        path
            Keys that lead to the value.
        value
            Plain value.
        place
            Where it comes from, for messages.

        Raises
        ------
        SettingsError
            When something on the way is no map.
        """
        at = self.values
        for depth, key in enumerate(path[:-1], start=1):
            if key not in at:
                at[str(key)], self.places[path[:depth]] = {}, place
            at = at[str(key)]
            if not isinstance(at, dict):
                message = f'{key} holds {at!r} and no keys; set {key} as a whole'
                raise SettingsError([Problem(place, '.'.join(map(str, path)), message)])
        at[str(path[-1])] = value
        # What stood below the old value is gone, and with it the lines of its keys.
        self.places = {known: there for known, there in self.places.items() if known[: len(path)] != path}
        self.places[path] = place

    def include(self, key: str, other: Document) -> None:
        """Put another document under a key, with the places of its values in its own file."""
        self.replace((key,), other.values, self.place(key))
        self.places |= {(key, *path): place for path, place in other.places.items() if path}


def read_document(path: str | Path) -> Document:
    """Read a YAML file of settings.

    Raises
    ------
    SettingsError
        When it cannot be read, is not YAML or not a map, or has a key twice (all such keys are named).
    """
    path = Path(path)
    try:
        # As a tree of nodes first: these know their lines and both of two equal keys, which a dictionary does not.
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
    for keys, line, fault in _walk(node):
        if fault is not None:
            problems.append(Problem(f'{path}:{line}', '.'.join(map(str, keys)), fault))
        places[keys] = f'{path}:{line}'
    if problems:
        raise SettingsError(problems)
    # The same tree becomes values; a tag that names a Python class is refused by the safe loader.
    loader = _Loader('')
    try:
        values = loader.construct_document(node)
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise SettingsError(
            [Problem(str(path), '', f'holds something other than plain values ({_first_line(error)}); remove it')]
        ) from error
    return Document(_with_text_keys(values), places, path.resolve().parent)


def parse_value(text: str) -> Any:
    """Read one value as a settings file would spell it.

    Examples
    --------
    >>> parse_value('3e-4'), parse_value('[1, 2]'), parse_value('tied')
    (0.0003, [1, 2], 'tied')
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        faults = [] if node is None else [(keys, fault) for keys, _, fault in _walk(node) if fault is not None]
        value = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise CommandError(f'{text!r} is not a YAML value; quote it') from error
    if faults:
        keys, fault = faults[0]
        raise CommandError(f'{text!r}: {".".join(map(str, keys))} {fault}')
    return value


def _walk(node: yaml.Node, path: Path_ = ()) -> Iterator[tuple[Path_, int, str | None]]:
    """Yield path and line of everything below a node, and what is wrong with it, if anything is."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            here = (*path, name)
            # YAML lets the second of two equal keys win without a word.
            fault = 'is written twice; keep one of them' if name in seen else _foreign(value)
            yield here, key.start_mark.line + 1, fault  # Marks count from 0.
            seen.add(name)
            yield from _walk(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            here = (*path, index)
            yield here, value.start_mark.line + 1, _foreign(value)
            yield from _walk(value, here)


def _foreign(node: yaml.Node) -> str | None:
    """Say what is wrong with a value that is none of text, number, truth value, map and list."""
    if node.tag in _PLAIN:
        return None
    kind = node.tag.replace('tag:yaml.org,2002:', '!!')
    return f'is a {kind}, which is no plain value; write text, a number, a map or a list'


def _with_text_keys(value: Any) -> Any:
    """Convert all keys below a value to text: a key that looks like a number is still a key."""
    if isinstance(value, dict):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def _first_line(error: Exception) -> str:
    """Return the first line of an error's message, or else the name of its class."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
