"""In what the networks of a comparison were trained differently: what the methods' differences may come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from nni_wcnas.compare.method import Method
from nni_wcnas.files.record import Record
from nni_wcnas.files.same_data import same_data
from nni_wcnas.page.html import escape, table
from nni_wcnas.retrain.recipe import Recipe

__all__ = ['training_differences']

_NONE = '–'
_NOTE = ('These networks were not all trained in one way, so a difference between methods may come from that. Keys of '
         f'which the values differ, seeds apart; {_NONE} is a value that was not given.')


def training_differences(methods: Sequence[Method]) -> str:
    """A row a key of recipe, retraining or data, with the values of each method; nothing where all are equal."""
    trained = {method.name: [_training(record) for record in method.records] for method in methods}
    keys = dict.fromkeys(key for runs in trained.values() for run in runs for key in run)
    rows = []
    for key in keys:
        values = {name: list(dict.fromkeys(run.get(key, _NONE) for run in runs)) for name, runs in trained.items()}
        if len({value for found in values.values() for value in found}) > 1:
            rows.append([f'<code>{escape(key)}</code>', *(escape(', '.join(found)) for found in values.values())])
    if not rows:
        return ''
    return (f'<section><h2>Trained differently</h2>\n<p class="soft">{escape(_NOTE)}</p>'
            f'{table(("", *trained), rows)}</section>')


def _training(record: Record) -> dict[str, str]:
    """Flat keys, values as texts; what an earlier release did not know of is at its default."""
    settings = record.settings
    retraining = {**asdict(Recipe()), 'devices': 1, **settings['retrain']} if 'retrain' in settings else {}
    sections: dict[str, dict[str, Any]] = {'retrain': retraining, 'data': same_data(settings.get('data', {}))}
    flat = {f'{section}.{key}': value for section, values in sections.items() for key, value in values.items()
            if key != 'seed'}
    return {key: _text(value) for key, value in {'recipe': settings.get('recipe'), **flat}.items() if value is not None}


def _text(value: object) -> str:
    """Equal numbers read alike."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
