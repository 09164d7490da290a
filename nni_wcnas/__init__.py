"""Worst-case neural architecture search for Microsoft NNI: everything importable is on this page.

Names are imported on first use, so that ``nni-wcnas --help`` is instant and architecture files can be used where NNI is
not installed.

>>> import nni_wcnas as wc
>>> wc.presets.wcnas().objective.trade_off
1.0
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nni_wcnas import data, presets, spaces
    from nni_wcnas.evaluator import SearchEvaluator
    from nni_wcnas.hypergradient import FirstOrder, Unrolled
    from nni_wcnas.objective import AverageCase, WorstCase
    from nni_wcnas.relaxation import Softmax
    from nni_wcnas.schedule import SingleStage
    from nni_wcnas.selection import Magnitude
    from nni_wcnas.smoothing import NoSmoothing
    from nni_wcnas.spaces.architecture import Architecture, load_architecture, save_architecture
    from nni_wcnas.strategy import Search
    from nni_wcnas.tester import FQGAN

__all__ = [
    'Architecture',
    'AverageCase',
    'FQGAN',
    'FirstOrder',
    'Magnitude',
    'NoSmoothing',
    'Search',
    'SearchEvaluator',
    'SingleStage',
    'Softmax',
    'Unrolled',
    'WorstCase',
    'data',
    'load_architecture',
    'presets',
    'save_architecture',
    'spaces',
]

__version__ = '0.1.0'

_HOMES = {
    'Architecture': 'spaces.architecture',
    'load_architecture': 'spaces.architecture',
    'save_architecture': 'spaces.architecture',
    'AverageCase': 'objective',
    'WorstCase': 'objective',
    'FirstOrder': 'hypergradient',
    'Unrolled': 'hypergradient',
    'FQGAN': 'tester',
    'Magnitude': 'selection',
    'NoSmoothing': 'smoothing',
    'Search': 'strategy',
    'SearchEvaluator': 'evaluator',
    'SingleStage': 'schedule',
    'Softmax': 'relaxation',
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _HOMES:
        return getattr(import_module(f'nni_wcnas.{_HOMES[name]}'), name)
    if name in __all__:
        return import_module(f'nni_wcnas.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return __all__
