"""Checks across keys: numbers that do not go together, and keys that would do nothing."""

from __future__ import annotations

from typing import Any

from nni_wcnas.errors import InvalidArgument
from nni_wcnas.options import OPTIONS
from nni_wcnas.retrain.recipe import RetrainingRecipe
from nni_wcnas.settings import assembly
from nni_wcnas.settings.composition import innermost
from nni_wcnas.settings.document import Document
from nni_wcnas.settings.problems import Problem
from nni_wcnas.settings.schema import AuxiliaryNumbers, Settings

__all__ = ['LENGTHS', 'OF_B', 'inconsistent_numbers', 'is_without_b']

LENGTHS = ('epochs', 'warmup')
"""Lengths that stand in the search section, and that a schedule may have, too."""
OF_B = ('trade_off', 'hyperparameter_lr')
"""Keys of an objective that act on B, the tester's hyper-parameters, alone."""


def inconsistent_numbers(document: Document, settings: Settings, broken: set[str]) -> list[Problem]:
    """Find numbers that do not go together, and keys that do nothing beside the others.

    Parameters
    ----------
    document
        The settings as they were written, with file and line of each value.
    settings
        The settings, with stand-ins for what is broken.
    broken
        Sections that were refused already; their stand-ins are not checked.

    Returns
    -------
    list of Problem
        All problems; empty where there are none.
    """
    problems: list[Problem] = []
    search = settings.search
    if search.warmup >= search.epochs and 'search' not in broken:
        problems.append(
            document.problem(
                f'leaves none of the {search.epochs} epochs to search in; lower warmup or raise epochs',
                'search',
                'warmup',
            )
        )
    if search.min_lr > search.lr:
        problems.append(
            document.problem(
                f'is above lr ({search.lr}), so the rate would rise; lower it',
                'search',
                'min_lr',
            )
        )
    problems += _check_lengths(document) + _check_difficulty(document, settings) + _check_retraining(document, settings)
    problems += _check_auxiliary(document, settings.auxiliary) + _check_without_b(document)
    for name, section in (('auxiliary', settings.auxiliary), ('pretraining', settings.pretraining)):
        # Two lengths of one training: none of them can be told to be the one that is meant.
        if section.steps is not None and section.epochs is not None:
            message = f'is {section.epochs}, and steps are {section.steps}: two lengths; keep one of them'
            problems.append(document.problem(message, name, 'epochs'))
    if settings.device == 'cuda' and not assembly.has_gpu():
        problems.append(document.problem('asks for a GPU, and this machine has none; use auto or cpu', 'device'))
    return problems


def _check_auxiliary(document: Document, auxiliary: AuxiliaryNumbers) -> list[Problem]:
    """Check that the auxiliary model's name is known, and that its learning rate does not rise."""
    problems, name = [], auxiliary.name
    if not assembly.is_auxiliary(name):
        # The section may be a bare name, which then has no key of its own.
        path = ('auxiliary', 'name') if ('auxiliary', 'name') in document.places else ('auxiliary',)
        message = f'{name!r} is neither tied nor small_resnet nor a classifier of timm; use tied'
        problems.append(document.problem(message, *path))
    if auxiliary.min_lr > auxiliary.lr:
        message = f'is above lr ({auxiliary.lr}), so the rate would rise; lower it'
        problems.append(document.problem(message, 'auxiliary', 'min_lr'))
    return problems


def _check_without_b(document: Document) -> list[Problem]:
    """Find what acts on the tester's hyper-parameters B alone, beside a tester that has none."""
    tester: Any = document.values.get('tester')
    if not is_without_b(tester):
        return []
    method = document.values.get('method')
    sections = {('method',): method, ('method', 'objective'): method.get('objective') if method else None}
    idle = [
        (*path, key)
        for path, section in sections.items()
        for key in OF_B
        if isinstance(section, dict) and section.get(key)
    ]
    # The place is not a file's where a preset's recipe wrote the section: the user need not know of that.
    if not document.places.get(('auxiliary',), 'preset').startswith('preset'):
        idle.append(('auxiliary',))
    message = f'does nothing with {tester["name"]}, which has no hyper-parameters to learn; leave it out'
    return [document.problem(message, *path) for path in idle]


def is_without_b(tester: dict[str, Any] | None) -> bool:
    """Tell whether a section names a tester that has no hyper-parameters; an unknown name or None does not."""
    name = tester.get('name') if isinstance(tester, dict) else None
    kind: Any = next((row.factory for row in OPTIONS if (row.axis, row.name) == ('tester', name)), None)
    return kind is not None and not kind.has_hyperparameters


def _check_lengths(document: Document) -> list[Problem]:
    """Find lengths that the schedule and the search section give in different ways."""
    method, search = document.values.get('method'), document.values.get('search')
    schedule, path = innermost(method.get('schedule') if isinstance(method, dict) else None, ('method', 'schedule'))
    if not isinstance(schedule, dict) or not isinstance(search, dict):
        return []
    return [
        document.problem(
            f'is {schedule[key]} here and {search[key]} in search.{key}; keep one of them', *path, key
        )
        for key in LENGTHS
        if key in schedule and key in search and schedule[key] != search[key]
    ]


def _check_difficulty(document: Document, settings: Settings) -> list[Problem]:
    """Find keys that say how to read the difficulty file, where there is no file."""
    source = settings.difficulty
    useless = {'kind': source.kind != 'scores', 'models': source.models is not None}
    return [
        document.problem('does nothing without difficulty.path; give the path, or leave it out', 'difficulty', key)
        for key, given in useless.items()
        if given and source.path is None
    ]


def _check_retraining(document: Document, settings: Settings) -> list[Problem]:
    """Find what the recipe of the retraining refuses."""
    try:
        RetrainingRecipe(**settings.retrain.numbers())
    except InvalidArgument as error:
        return [document.problem(error.predicate, 'retrain', error.name)]
    return []
