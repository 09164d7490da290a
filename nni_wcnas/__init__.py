"""Worst-case neural architecture search for Microsoft NNI: everything importable is on this page.

Names are imported on first use, so that ``nni-wcnas --help`` is instant and architecture files can be used where NNI is
not installed.

>>> import nni_wcnas as wc
>>> wc.presets.wcnas().objective.trade_off
1.0
"""

# ruff: noqa: F401, F403  # Imports for others, not for this file.

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Type checkers and editors read these imports; at run time `__getattr__` makes them, one by one.
if TYPE_CHECKING:
    from nni_wcnas import data, presets, spaces
    from nni_wcnas.evaluator import SearchEvaluator
    from nni_wcnas.hypergradient import *
    from nni_wcnas.objective import *
    from nni_wcnas.papers import citation
    from nni_wcnas.recipes import recipe
    from nni_wcnas.relaxation import *
    from nni_wcnas.schedule import *
    from nni_wcnas.selection import *
    from nni_wcnas.smoothing import *
    from nni_wcnas.spaces.architecture import (
        Architecture,
        load_architecture,
        save_architecture,
    )
    from nni_wcnas.spaces.published import load as published_architecture
    from nni_wcnas.strategy import Search
    from nni_wcnas.tester import *
    from nni_wcnas.transform import *

__version__ = '0.1.0'

_AXES = ('relaxation', 'transform', 'objective', 'hypergradient', 'smoothing', 'selection', 'schedule', 'tester')
"""Packages whose public names are public here, too, so that a new member is imported in its own package alone."""
_MODULES = ('data', 'presets', 'spaces')
_HOMES = {
    'Architecture': 'spaces.architecture',
    'Search': 'strategy',
    'SearchEvaluator': 'evaluator',
    'citation': 'papers',
    'load_architecture': 'spaces.architecture',
    'recipe': 'recipes',
    'save_architecture': 'spaces.architecture',
}
"""Module of each other public name, without the package's own."""


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    # What `from nni_wcnas import *` asks for.
    if name == '__all__':
        return __dir__()
    # The one name that is called otherwise in its own module.
    if name == 'published_architecture':
        return import_module('nni_wcnas.spaces.published').load
    if name in _HOMES:
        return getattr(import_module(f'nni_wcnas.{_HOMES[name]}'), name)
    if name in _MODULES:
        return import_module(f'nni_wcnas.{name}')
    # Python asks every package for names such as `__path__`, which are no reason to import the axes.
    if not name.startswith('_'):
        for axis in _AXES:
            package = import_module(f'nni_wcnas.{axis}')
            if name in package.__all__:
                return getattr(package, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    members = (name for axis in _AXES for name in import_module(f'nni_wcnas.{axis}').__all__)
    return sorted({*members, *_HOMES, *_MODULES, 'published_architecture'})
