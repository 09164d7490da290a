"""The papers' numbers for a preset and for a retraining, filled in where a settings file has none of its own."""

from __future__ import annotations

from typing import Any

from nni_wcnas.options import OPTIONS
from nni_wcnas.presets import PRESETS
from nni_wcnas.recipes import ADJUSTMENTS, RECIPES, Recipe
from nni_wcnas.retrain.recipe import RETRAINING_RECIPES
from nni_wcnas.settings.document import Document
from nni_wcnas.settings.members import arguments_of
from nni_wcnas.settings.schema import Settings
from nni_wcnas.spaces.architecture import OWN_CELL_SPACES
from nni_wcnas.tester import GAN

__all__ = ['fill_in', 'remark']

# Numbers of a recipe that are keys of these sections by the same names.
_SEARCH = ('epochs', 'lr', 'min_lr', 'momentum', 'weight_decay')
_SPACE = ('width', 'num_cells')
_RATES = ('generator_lr', 'min_lr')
"""Rates of a generator that are left out for one narrower than its authors', which would diverge at them."""
_LOWEST = {
    ('search', 'min_lr'): 'lr',
    ('auxiliary', 'min_lr'): 'lr',
    ('tester', 'min_lr'): 'generator_lr',
}
"""Lowest rates, and the key of the rate in the same section that falls to each of them."""


def fill_in(document: Document) -> None:
    """Write the numbers of the preset's recipe, and of the retraining's, into a document, each where there is none.

    A warm-up keeps its share of the epochs; a generator narrower than its authors' keeps its own rates. Nothing is
    written for a method without a preset, or for names that are not known: these are told later.
    """
    _fill_in_retraining(document)
    method = document.values.get('method')
    if not isinstance(method, dict) or not isinstance(method.get('preset'), str):
        return
    place = f'preset {method["preset"]}'
    recipe = _recipe(document, method, place)  # May write `method.dataset`, too.
    if recipe is None:
        return
    numbers: dict[tuple[str, str], Any] = {('search', name): getattr(recipe, name) for name in _SEARCH}
    numbers['data', 'batch_size'] = recipe.batch_size
    # Width and depth of the tables are those of the DARTS space; other spaces have sizes of their own.
    if _section(document, 'space').get('name') in OWN_CELL_SPACES:
        numbers |= {('space', name): getattr(recipe, name) for name in _SPACE}
    auxiliary = recipe.evaluator['auxiliary']
    numbers |= {('auxiliary', name): number for name, number in auxiliary.items() if number is not None}
    numbers |= {('tester', name): number for name, number in _generator(document, recipe).items()}
    for path, number in numbers.items():
        _write(document, path, _at_most_the_written(document, path, number), place)
    # Last, as the file may have another number of epochs than the recipe.
    epochs = _section(document, 'search').get('epochs')
    if isinstance(epochs, int):
        _write(document, ('search', 'warmup'), recipe.warmup_of(epochs), place)


def _at_most_the_written(document: Document, path: tuple[str, str], number: Any) -> Any:
    """Return a number of the recipe; a lowest rate is cut to the rate that the file has, so that rates never rise."""
    written = _section(document, path[0]).get(_LOWEST.get(path, ''))
    is_rate = isinstance(written, (int, float)) and not isinstance(written, bool) and written > 0
    return min(number, written) if is_rate else number


def remark(settings: Settings) -> str | None:
    """Say in one sentence which numbers were taken where the papers have none for the data, and how to take others.

    Returns
    -------
    str or None
        None where the papers have numbers for the data.
    """
    if settings.method.get('dataset') != 'other':
        return None
    preset = settings.method['preset']
    # A preset that is applied to another one, as wcnas is, has the numbers of that one.
    preset = settings.method.get('base') or arguments_of(PRESETS[preset]).get('base', (str, preset))[1]
    known = ', '.join(f'`method.dataset: {name}`' for name in RECIPES[preset] if name != 'other')
    return (
        f'{settings.data["name"]}: the papers have no numbers for these data, so those that the settings leave out are '
        f'those of DARTS (table 25), in the stages of {preset} (`method.dataset: other`); for others set {known}'
    )


def _generator(document: Document, recipe: Recipe) -> dict[str, Any]:
    """Return the numbers of the generator G that differ from its own defaults.

    A generator narrower than its authors' gets no rates: it would diverge at theirs.
    """
    section = _section(document, 'tester')
    kind: Any = next((row.factory for row in OPTIONS if (row.axis, row.name) == ('tester', section.get('name'))), None)
    if not isinstance(kind, type) or not issubclass(kind, GAN):
        return {}
    own = {name: default for name, (_, default) in arguments_of(kind).items()}
    width = section.get('width', own['width'])
    is_smaller = not isinstance(width, int) or width < kind.published_width  # A wrong width is told later.
    numbers = {name: number for name, number in recipe.generator.items() if number != own[name]}
    return {name: number for name, number in numbers.items() if not (is_smaller and name in _RATES)}


def _fill_in_retraining(document: Document) -> None:
    """Write the numbers of the recipe that the section ``retrain`` names, each where there is none."""
    name = _section(document, 'retrain').get('recipe')
    if isinstance(name, str) and name in RETRAINING_RECIPES:
        for key, number in RETRAINING_RECIPES[name].numbers.items():
            _write(document, ('retrain', key), number, f'recipe {name}')


def _recipe(document: Document, method: dict[str, Any], place: str) -> Recipe | None:
    """Return the recipe of a preset, or of its base, for the data set of the settings; None for unknown names.

    The data set's name is written under ``method.dataset``, where there is none, as the preset takes it, too.
    """
    factory = PRESETS.get(method['preset'])
    # Annotation and default of the argument `base`, which only presets have that are applied to another one.
    base = arguments_of(factory).get('base') if factory is not None else None
    preset = method['preset'] if base is None else method.get('base', base[1])
    by_dataset = RECIPES.get(preset) if isinstance(preset, str) else None
    if by_dataset is None:
        return None
    name = _section(document, 'data').get('name')
    if isinstance(name, str):
        # 'other' stands for data without numbers in the papers: table 25's, which are DARTS's.
        _write(document, ('method', 'dataset'), name if name in by_dataset else 'other', place)
    dataset = method.get('dataset', 'cifar10')
    found = by_dataset.get(dataset) if isinstance(dataset, str) else None
    adjust = ADJUSTMENTS.get(method['preset'])
    return found if found is None or adjust is None else adjust(found)


def _section(document: Document, name: str) -> dict[str, Any]:
    """Return a section of the settings; empty where it is missing or no map."""
    section = document.values.get(name)
    return section if isinstance(section, dict) else {}


def _write(document: Document, path: tuple[str, str], value: Any, place: str) -> None:
    """Write a value where none is written, in a section that is a map or missing."""
    section = document.values.get(path[0], {})
    if isinstance(section, dict) and path[1] not in section:
        document.replace(path, value, place)
