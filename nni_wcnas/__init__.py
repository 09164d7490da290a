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

# Type checkers and editors read these imports; at run time `__getattr__` makes them, one by one.
if TYPE_CHECKING:
    from nni_wcnas import data, presets, spaces
    from nni_wcnas.evaluator import SearchEvaluator
    from nni_wcnas.hypergradient import FirstOrder, Unrolled
    from nni_wcnas.objective import (
        AverageCase,
        ConditionalValueAtRisk,
        GroupWorstCase,
        InstanceHardness,
        SaliencyAware,
        SelectedExamples,
        SelfPaced,
        SynthesizedValidation,
        WorstCase,
    )
    from nni_wcnas.papers import citation
    from nni_wcnas.recipes import recipe
    from nni_wcnas.relaxation import Dirichlet, GumbelSoftmax, HardConcrete, Softmax
    from nni_wcnas.schedule import (
        HessianEigenvalue,
        Progressive,
        Projected,
        SingleStage,
        SkipCount,
    )
    from nni_wcnas.selection import Magnitude, MaxSkips, TopPairs
    from nni_wcnas.smoothing import AdversarialSmoothing, NoSmoothing, RandomSmoothing
    from nni_wcnas.spaces.architecture import (
        Architecture,
        load_architecture,
        save_architecture,
    )
    from nni_wcnas.spaces.published import load as published_architecture
    from nni_wcnas.strategy import Search
    from nni_wcnas.tester import (
        FQGAN,
        SNGAN,
        AugmentationPolicy,
        BigGAN,
        ContraGAN,
        Corruptions,
        Perturbation,
        StyleGAN2ADA,
    )
    from nni_wcnas.transform import AuxiliarySkip, PartialChannels, SkipDropout

__all__ = [
    'AdversarialSmoothing',
    'Architecture',
    'AugmentationPolicy',
    'AuxiliarySkip',
    'AverageCase',
    'BigGAN',
    'ConditionalValueAtRisk',
    'ContraGAN',
    'Corruptions',
    'Dirichlet',
    'FQGAN',
    'FirstOrder',
    'GroupWorstCase',
    'GumbelSoftmax',
    'HardConcrete',
    'HessianEigenvalue',
    'InstanceHardness',
    'Magnitude',
    'MaxSkips',
    'NoSmoothing',
    'PartialChannels',
    'Perturbation',
    'Progressive',
    'Projected',
    'RandomSmoothing',
    'SNGAN',
    'SaliencyAware',
    'Search',
    'SearchEvaluator',
    'SelectedExamples',
    'SelfPaced',
    'SingleStage',
    'SkipCount',
    'SkipDropout',
    'Softmax',
    'StyleGAN2ADA',
    'SynthesizedValidation',
    'TopPairs',
    'Unrolled',
    'WorstCase',
    'citation',
    'data',
    'load_architecture',
    'presets',
    'published_architecture',
    'recipe',
    'save_architecture',
    'spaces',
]

__version__ = '0.1.0'

_HOMES = {
    'citation': 'papers',
    'Dirichlet': 'relaxation',
    'GumbelSoftmax': 'relaxation',
    'HardConcrete': 'relaxation',
    'Softmax': 'relaxation',
    'HessianEigenvalue': 'schedule',
    'Progressive': 'schedule',
    'Projected': 'schedule',
    'SingleStage': 'schedule',
    'SkipCount': 'schedule',
    'Magnitude': 'selection',
    'MaxSkips': 'selection',
    'TopPairs': 'selection',
    'AdversarialSmoothing': 'smoothing',
    'NoSmoothing': 'smoothing',
    'RandomSmoothing': 'smoothing',
    'AuxiliarySkip': 'transform',
    'PartialChannels': 'transform',
    'SkipDropout': 'transform',
    'AverageCase': 'objective',
    'ConditionalValueAtRisk': 'objective',
    'GroupWorstCase': 'objective',
    'InstanceHardness': 'objective',
    'SaliencyAware': 'objective',
    'SelectedExamples': 'objective',
    'SelfPaced': 'objective',
    'SynthesizedValidation': 'objective',
    'WorstCase': 'objective',
    'FirstOrder': 'hypergradient',
    'Unrolled': 'hypergradient',
    'AugmentationPolicy': 'tester',
    'Corruptions': 'tester',
    'Perturbation': 'tester',
    'FQGAN': 'tester',
    'SNGAN': 'tester',
    'BigGAN': 'tester',
    'ContraGAN': 'tester',
    'StyleGAN2ADA': 'tester',
    'Search': 'strategy',
    'SearchEvaluator': 'evaluator',
    'recipe': 'recipes',
    'Architecture': 'spaces.architecture',
    'load_architecture': 'spaces.architecture',
    'save_architecture': 'spaces.architecture',
}
"""Module of each public name, without the package's own; modules themselves are not listed."""


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    # The one name that is called otherwise in its own module.
    if name == 'published_architecture':
        return import_module('nni_wcnas.spaces.published').load
    if name in _HOMES:
        return getattr(import_module(f'nni_wcnas.{_HOMES[name]}'), name)
    # What is public and has no home is a module: data, presets, spaces.
    if name in __all__:
        return import_module(f'nni_wcnas.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return __all__
