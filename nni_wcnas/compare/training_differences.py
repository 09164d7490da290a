"""How the trainings of a comparison's networks differ: differences between methods may come from that alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from nni_wcnas.compare.method import Method
from nni_wcnas.files.batch_settings import batch_settings
from nni_wcnas.files.record import Record
from nni_wcnas.page.template import Cell, Section, table
from nni_wcnas.retrain.recipe import RetrainingRecipe

__all__ = ['training_differences']

_NONE = '–'
"""Stands for a value that was not given."""
_NOTE = ('These networks were not all trained in one way, so a difference between methods may come from that. Keys of '
         f'which the values differ, seeds apart; {_NONE} is a value that was not given.')


def training_differences(methods: Sequence[Method]) -> Section:
    """Make a section with the keys of recipe, retraining and data in which the networks differ; empty without any.

    Each row is a key with the values that each method's networks have.
    """
    trained = {method.name: [_training(record) for record in method.records] for method in methods}
    # Each once, in the order of the records.
    keys = dict.fromkeys(key for runs in trained.values() for run in runs for key in run)
    rows: list[list[Cell | str]] = []
    for key in keys:
        # Each method's distinct values, in the order of its records.
        values = {name: list(dict.fromkeys(run.get(key, _NONE) for run in runs)) for name, runs in trained.items()}
        if len({value for found in values.values() for value in found}) > 1:
            rows.append([Cell(key, kind='code'), *(', '.join(found) for found in values.values())])
    title = 'Trained differently'
    return Section(title, table(('', *trained), rows), _NOTE) if rows else Section(title, Markup(''))


def _training(record: Record) -> dict[str, str]:
    """Return the settings of a record's training under dotted keys, values as texts, seeds left out.

    A number that an earlier release did not know of has its default.
    """
    settings = record.settings
    retraining = {**asdict(RetrainingRecipe()), 'devices': 1, **settings['retrain']} if 'retrain' in settings else {}
    # Where images lie and what loads them makes no difference.
    sections: dict[str, dict[str, Any]] = {'retrain': retraining, 'data': batch_settings(settings.get('data', {}))}
    flat = {f'{section}.{key}': value for section, values in sections.items() for key, value in values.items()
            if key != 'seed'}
    return {key: _text(value) for key, value in {'recipe': settings.get('recipe'), **flat}.items() if value is not None}


def _text(value: object) -> str:
    """Write a value so that equal numbers read alike: 1 and 1.0 both as ``1``."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
