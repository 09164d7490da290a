"""Published cells, as architecture files that ship with the package; ``provenance`` names paper and source of each."""

from __future__ import annotations

from pathlib import Path

from nni_wcnas.nearest_name import nearest_name
from nni_wcnas.spaces.architecture import Architecture, ArchitectureError, load_architecture
from nni_wcnas.spaces.sample_check import listed

__all__ = ['load', 'names']

_FOLDER = Path(__file__).parents[1] / 'published'
"""The folder of the package that holds an architecture file for each published cell."""


def names() -> tuple[str, ...]:
    """Return the names of the published cells, sorted.

    Examples
    --------
    >>> 'darts_v2' in names()
    True
    """
    return tuple(sorted(path.stem for path in _FOLDER.glob('*.json')))


def load(name: str) -> Architecture:
    """Load a published cell.

    Parameters
    ----------
    name
        Name of the cell, one of :func:`names`.

    Raises
    ------
    ArchitectureError
        If there is no cell of this name.

    Examples
    --------
    >>> load('darts_v2').cell('normal')[0]
    (Choice(operation='sep_conv_3x3', source=0), Choice(operation='sep_conv_3x3', source=1))
    """
    if name not in names():
        raise ArchitectureError(
            f'no published cell {name!r}: did you mean {nearest_name(name, names())!r}? Known are {listed(names())}')
    return load_architecture(_FOLDER / f'{name}.json')
