"""What a search needs of its evaluator and what it makes no use of: the tester, and the data of a preset's numbers."""

from __future__ import annotations

import inspect
import logging
from typing import Any

from nni.nas.evaluator.pytorch import Lightning
from pytorch_lightning import LightningModule
from torch import nn

from nni_wcnas.contracts import GenerativeTester, Objective, Tester
from nni_wcnas.data import ImageFolder
from nni_wcnas.evaluator import SearchEvaluator
from nni_wcnas.objective import WorstCase
from nni_wcnas.recipes import Recipe
from nni_wcnas.search.adversary import Adversary
from nni_wcnas.tester import GAN

__all__ = ['bring_tester', 'warn_of_other_data', 'warn_of_unused_parts']

_logger = logging.getLogger(__name__)


def bring_tester(
    objective: Objective, evaluator: Lightning, supernet: nn.Module | None, *, learner_weights: int
) -> Adversary | None:
    """Give a search that lacks a tester the default one; return what the search's own module shall hold.

    A :class:`~nni_wcnas.evaluator.SearchEvaluator` takes it in itself, so that nothing is left to hold.

    Raises
    ------
    ValueError
        When there is a tester that the objective cannot use, or none and it needs a generator.
    """
    tester = getattr(evaluator.module, 'tester', None)
    if objective.needs_generator and not isinstance(tester, GenerativeTester):
        found = 'none' if tester is None else f'{_kind(tester)}, which has no generator'
        raise ValueError(
            f'{_kind(objective)} needs a tester with a generator, and this evaluator has {found}: use '
            'SearchEvaluator(data, tester=FQGAN(num_classes=...)) from nni_wcnas'
        )
    if objective.needs_tester and isinstance(tester, GAN):
        _warn_of_idle(objective, tester)
    if objective.needs_tester and isinstance(tester, Tester) and not tester.has_hyperparameters:
        _warn_without_b(objective, tester)
    if not objective.needs_tester:
        return None
    wanted: dict[str, Any] = {'has_auxiliary': objective.needs_auxiliary, 'learner': learner_weights}
    if isinstance(evaluator, SearchEvaluator):
        evaluator.bring_tester(**wanted)
        return None
    return None if tester is not None else Adversary(_num_classes(objective, evaluator, supernet), **wanted)


def _num_classes(objective: Objective, evaluator: Lightning, supernet: nn.Module | None) -> int:
    """Return the number of classes that a stock evaluator was told, else that of the last linear layer."""
    told = getattr(evaluator, 'trace_kwargs', {}).get('num_classes')
    if told is not None:
        return int(told)
    modules = () if supernet is None else supernet.modules()
    layers = [layer for layer in modules if isinstance(layer, nn.Linear)]
    if not layers:
        raise ValueError(
            f'{_kind(objective)} needs the number of classes, which neither the evaluator nor a last linear '
            'layer tells: use SearchEvaluator from nni_wcnas'
        )
    return layers[-1].out_features


def warn_of_unused_parts(objective: Objective, module: LightningModule) -> None:
    """Warn of a tester or an auxiliary model of the evaluator's module that the objective does not use."""
    has_adversary = any(getattr(module, part, None) is not None for part in ('tester', 'auxiliary'))
    if not objective.needs_tester and has_adversary:
        _logger.warning(
            '%s trains neither the tester nor the auxiliary model of this evaluator, so both stay as they are: '
            'leave them out, or search with objective=WorstCase()',
            _kind(objective),
        )


def warn_of_other_data(recipe: Recipe, evaluator: Lightning) -> None:
    """Warn where a preset has the numbers of other data than these, and they are not those that all data share.

    A stock evaluator does not tell what its data are.
    """
    data = evaluator.data.name if isinstance(evaluator, SearchEvaluator) else 'not known here'
    # A folder is named by whoever made it: one that is called `cifar10` need not hold CIFAR-10. ImageNet is a folder.
    is_folder = isinstance(evaluator, SearchEvaluator) and isinstance(evaluator.data, ImageFolder)
    name = 'imagenet' if is_folder else data.partition('-')[0]  # `cifar10-colour` is CIFAR-10 with a shortcut.
    if recipe.dataset not in (name, 'other') and not recipe.is_for_all_data:
        _logger.warning(
            "the data are %s and the preset has the paper's numbers for %s: give it dataset='other' for those of "
            'DARTS, or the name of data that the paper has numbers for (nni_wcnas.recipes)',
            data,
            recipe.dataset,
        )


def _warn_of_idle(objective: Objective, tester: GAN) -> None:
    """Warn of a generator that was never trained, and of a choice of B that this objective does not learn."""
    if not tester.is_trained and (isinstance(objective, WorstCase) or not objective.trains_generator):
        _logger.warning(
            'the generator of this %s was never trained, so that %s begins with images of noise: give the tester '
            '`pretrained: auto` in settings, or a file of `nni-wcnas pretrain`',
            _kind(tester),
            _kind(objective),
        )
    # Only a value that somebody chose is worth a warning; the default says nothing.
    parameter = inspect.signature(type(tester)).parameters.get('learns')
    if not objective.hyperparameter_lr and parameter is not None and tester.learns != parameter.default:
        _logger.warning(
            '%s learns no hyper-parameters of the tester, so learns=%r does nothing: leave it out, or give the '
            'objective a hyperparameter_lr where it takes one',
            _kind(objective),
            tester.learns,
        )


def _warn_without_b(objective: Objective, tester: Tester) -> None:
    """Warn of numbers of the objective that act on B alone, where they are not the defaults and there is no B."""
    parameters = inspect.signature(type(objective)).parameters
    for name in ('trade_off', 'hyperparameter_lr'):
        value = getattr(objective, name, None)
        if value and name in parameters and value != parameters[name].default:
            _logger.warning(
                '%s has no hyper-parameters B to learn, so %s=%s of %s, which is about B, does nothing',
                _kind(tester),
                name,
                value,
                _kind(objective),
            )


def _kind(member: object) -> str:
    """Return the class name of a member, for messages."""
    return type(member).__name__
