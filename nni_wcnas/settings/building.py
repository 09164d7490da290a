"""Builds every part of a search once, to find the mistakes that only its factory knows: which values are possible."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from nni_wcnas.contracts import GenerativeTester
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.objective import GroupWorstCase
from nni_wcnas.options import option
from nni_wcnas.search.compatibility import CELL_OPTIONS, check_space
from nni_wcnas.settings import assembly
from nni_wcnas.settings.document import Document
from nni_wcnas.settings.problems import Problem, for_settings
from nni_wcnas.settings.schema import Settings
from nni_wcnas.settings.trial import Trial
from nni_wcnas.settings.truth import make_truth
from nni_wcnas.spaces.architecture import SPACES_WITH_CELLS
from nni_wcnas.tester import make_auxiliary

__all__ = ['SECTIONS', 'check_values']

SECTIONS = ('method', 'data', 'difficulty', 'space', 'truth', 'tester', 'auxiliary')
"""Sections of the settings whose parts are built to check them."""


def check_values(document: Document, trial: Trial, broken: set[str]) -> list[Problem]:
    """Build each part of a search once, and collect what their factories refuse.

    Parameters
    ----------
    document
        The settings as they were written, with file and line of each value.
    trial
        The settings, with stand-ins for what is broken; it keeps the parts that can be used again.
    broken
        Sections to leave alone, such as those that were refused already.

    Returns
    -------
    list of Problem
        All problems, in the order in which the parts are built; empty where everything can be built.
    """
    problems: list[Problem] = []
    settings = trial.settings

    def attempt(section: str, make: Callable[[], Any]) -> Any:
        """Make a part; what goes wrong becomes a problem of the section, and the part None."""
        try:
            return None if section in broken else make()
        # The spaces are NNI's: they check little, and fail in many ways.
        except Exception as error:
            problems.append(document.problem(_sentence(error), *_blamed(document, section, error)))
            return None

    with assembly.untouched_random_state():
        strategy = attempt('method', lambda: trial.strategy)
        data = attempt('data', lambda: trial.data_on_cpu)
        objective = None if strategy is None else strategy.objective
        if objective is not None and objective.needs_generator and 'tester' not in broken:
            problems += _without_generator(document, settings, type(objective).__name__)
        if data is not None:
            attempt('difficulty', lambda: assembly.check_difficulty(settings, data))
            if isinstance(objective, GroupWorstCase):
                attempt('method', lambda: objective.check_examples(len(data.images.train)))
        # Later parts are checked even where the data are broken, with whatever shape of the images suits them.
        shape = data if data is not None else _any_data(settings)
        space = attempt('space', lambda: assembly.make_space(settings, shape))
        if 'space' not in broken:
            attempt('truth', lambda: make_truth(settings))
        name = settings.space['name']
        cell_options = [key for key in CELL_OPTIONS if getattr(strategy, key, False)]
        if cell_options and name not in SPACES_WITH_CELLS:
            for key in cell_options:
                problems.append(document.problem(f'acts on cells, and {name} has none; leave it out', 'method', key))
        # Not also where an option that acts on cells was told above: it would be the same mistake twice.
        elif strategy is not None and space is not None:
            attempt('method', lambda: check_space(strategy.members, space))
        # A tester is checked even if the objective has no use for it: a mistake in the file stays a mistake.
        if settings.tester is not None or (objective is not None and objective.needs_tester):
            tester = attempt('tester', lambda: assembly.make_tester(settings, shape))
            is_judged = space is not None and tester is not None and tester.has_hyperparameters
            if is_judged and assembly.is_auxiliary(settings.auxiliary.name):
                attempt('auxiliary', lambda: make_auxiliary(assembly.auxiliary_arguments(settings), tester))
    return problems


def _without_generator(document: Document, settings: Settings, objective: str) -> list[Problem]:
    """Return the problem of an objective that needs a generator, where the tester is none; else nothing."""
    if settings.tester is None:
        return [document.problem(f'{objective} needs a tester; add `tester: fq_gan`', 'method')]
    name = settings.tester['name']
    if issubclass(option('tester', name).factory, GenerativeTester):  # type: ignore[arg-type]
        return []
    return [document.problem(f'{name} has no generator, which {objective} needs; use `tester: fq_gan`', 'tester')]


def _any_data(settings: Settings) -> Any:
    """Make a stand-in for data that cannot be built, with whatever classes and resolution the other parts expect."""
    tester = settings.tester or {}
    classes = tester.get('num_classes', settings.space.get('num_classes', settings.space.get('num_labels', 10)))
    return SimpleNamespace(name='the data', num_classes=classes, image_size=tester.get('image_size', 32))


def _blamed(document: Document, section: str, error: Exception) -> tuple[str | int, ...]:
    """Find the written key that an error is about: the argument that it carries, else the section as a whole.

    Parameters
    ----------
    document
        The settings as they were written.
    section
        Section whose part could not be built.
    error
        What its factory raised; one of another package carries no argument.

    Returns
    -------
    tuple
        Path of keys.
    """
    written = list(_paths(document.values.get(section)))
    if isinstance(error, InvalidArgument):
        return (section, *next((path for path in written if path[-1] == error.name), ()))
    # Errors of NNI and timm, and of files, carry no argument: the first that they name is blamed. The keys that name an
    # option are words such as 'name', which any message may hold; `lr` is no part of `min_lr`, which is one word.
    named = [path for path in written if path[-1] not in ('name', 'preset')]
    found = [(match.start(), path) for path in named if (match := re.search(rf'\b{path[-1]}\b', str(error)))]
    return (section, *min(found, key=lambda place: place[0])[1]) if found else (section,)


def _paths(value: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the paths of all keys below a value, those inside of lists included."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        if isinstance(value, dict):
            yield (*above, key)
        if isinstance(part, (dict, list)):
            yield from _paths(part, (*above, key))


def _sentence(error: Exception) -> str:
    """Return the message for an error: our own as it is, any other one with a remedy."""
    text = for_settings(error)
    if isinstance(error, (ValueError, TypeError, OSError)) and text:
        return text
    return f'cannot be built from these values ({f"{type(error).__name__}: {text}".rstrip(": ")}); change one of them'
