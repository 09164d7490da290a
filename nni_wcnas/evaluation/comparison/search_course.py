"""How the searches went, epoch by epoch: whether the architecture decides, and what the tester makes."""

from __future__ import annotations

from collections.abc import Sequence

from nni_wcnas.evaluation.comparison.method import Method
from nni_wcnas.evaluation.comparison.plot import Point, curves
from nni_wcnas.evaluation.page import escape
from nni_wcnas.evaluation.significance import summarise

__all__ = ['search_course']

_SHOWN = 7
"""Epochs of a curve, so that their numbers have room."""


def search_course(methods: Sequence[Method]) -> str:
    """The entropy of A by epoch, and of each method with a tester the images of its first search; empty where no record
    holds them."""
    curve = curves('Entropy of A', {method.name: _entropy(method) for method in methods}, x_label='epoch', unit='',
                   note=' Nats, mean of all choices; low means that the architecture has decided. Bars are a standard '
                        'deviation over the seeds.')
    plot = f'<div class="grid plots">{curve}</div>' if curve else ''
    return plot + ''.join(_images(method) for method in methods)


def _entropy(method: Method) -> list[Point]:
    """Some epochs, first and last among them."""
    values: dict[float, list[float]] = {}
    for record in method.records:
        for row in record.search_history:
            if 'entropy' in row:
                values.setdefault(row['epoch'], []).append(row['entropy'])
    epochs = sorted(values)
    count = min(len(epochs), _SHOWN)
    shown = [epochs[place * (len(epochs) - 1) // max(count - 1, 1)] for place in range(count)]
    summaries = {epoch: summarise(values[epoch]) for epoch in shown}
    return [Point(epoch, summary.mean, summary.deviation) for epoch, summary in summaries.items()]


def _images(method: Method) -> str:
    """The grids of the first search that has some."""
    record = next((record for record in method.records if record.tester_images), None)
    if record is None:
        return ''
    seed = '' if record.seed is None else f', seed {record.seed}'
    figures = ''.join(
        f'<figure><img src="data:image/png;base64,{grid["image"]}" alt="images of the tester at epoch {grid["epoch"]}, '
        f'a row a class"><figcaption>epoch {grid["epoch"]}</figcaption></figure>' for grid in record.tester_images
    )
    return (f"<h3>The tester's images: {escape(method.name)}{seed}</h3>\n<p class=\"soft\">A row a class. Epoch 0 is "
            f'before the search.</p><div class="grid tiles">{figures}</div>')
