"""How a settings file spells members that hold others: ``{name: skip_count, limit: 4, inner: progressive}``."""

from __future__ import annotations

from typing import Any

from nni_wcnas.options import AXES, build

__all__ = ['MEMBERS', 'innermost', 'make_member', 'make_transforms', 'spell_out']

MEMBERS = (*AXES, 'transforms')
"""Keys of the method that name members."""


def spell_out(method: dict[str, Any]) -> None:
    """Make every member a map with a name, in place; a single transform a list."""
    for axis in AXES:
        if axis in method:
            method[axis] = _spelled_out(method[axis])
    if 'transforms' in method:
        given = method['transforms']
        given = [given] if isinstance(given, (str, dict)) else given
        method['transforms'] = [_spelled_out(section) for section in given] if isinstance(given, list) else given


def _spelled_out(section: Any) -> Any:
    if isinstance(section, str):
        return {'name': section}
    if isinstance(section, dict) and 'inner' in section:
        section['inner'] = _spelled_out(section['inner'])
    return section


def innermost(section: Any, path: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """The member that holds no other, and the keys that lead to it."""
    while isinstance(section, dict) and 'inner' in section:
        section, path = section['inner'], (*path, 'inner')
    return section, path


def make_member(axis: str, section: dict[str, Any]) -> Any:
    """One member, after those that it holds."""
    arguments = {key: value for key, value in section.items() if key != 'name'}
    if 'inner' in arguments:
        arguments['inner'] = make_member(axis, arguments['inner'])
    return build(axis, section['name'], **arguments)


def make_transforms(sections: list[dict[str, Any]]) -> tuple[Any, ...]:
    """All of them, in their order."""
    return tuple(make_member('transform', section) for section in sections)
