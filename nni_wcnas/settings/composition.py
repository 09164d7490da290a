"""Members that hold others, as a settings file spells them: ``{name: skip_count, limit: 4, inner: progressive}``."""

from __future__ import annotations

from typing import Any

from nni_wcnas.options import AXES, build

__all__ = ['MEMBERS', 'innermost', 'make_member', 'make_transforms', 'spell_out']

MEMBERS = (*AXES, 'transforms')
"""Keys of the method's section that name members."""


def spell_out(method: dict[str, Any]) -> None:
    """Spell every member of a method as a map with a name, and a single transform as a list of one; in place.

    What is neither a name nor a map stays as it is: the checks tell it later.
    """
    for axis in AXES:
        if axis in method:
            method[axis] = _spelled_out(method[axis])
    if 'transforms' in method:
        given = method['transforms']
        given = [given] if isinstance(given, (str, dict)) else given
        method['transforms'] = [_spelled_out(section) for section in given] if isinstance(given, list) else given


def _spelled_out(section: Any) -> Any:
    """Return a member as a map with a name, those that it holds included."""
    if isinstance(section, str):
        return {'name': section}
    if isinstance(section, dict) and 'inner' in section:
        section['inner'] = _spelled_out(section['inner'])
    return section


def innermost(section: Any, path: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """Return the innermost member of a section, which holds no other, and the path of keys that leads to it.

    Parameters
    ----------
    section
        A member, spelt out.
    path
        Keys that lead to it.
    """
    # A stop rule around a stop rule around a schedule, for example.
    while isinstance(section, dict) and 'inner' in section:
        section, path = section['inner'], (*path, 'inner')
    return section, path


def make_member(axis: str, section: dict[str, Any]) -> Any:
    """Build a member of an axis, and before it the one that it holds."""
    arguments = {key: value for key, value in section.items() if key != 'name'}
    if 'inner' in arguments:
        arguments['inner'] = make_member(axis, arguments['inner'])
    return build(axis, section['name'], **arguments)


def make_transforms(sections: list[dict[str, Any]]) -> tuple[Any, ...]:
    """Build transforms in the order in which they are written."""
    return tuple(make_member('transform', section) for section in sections)
