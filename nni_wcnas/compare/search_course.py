"""How the searches went, epoch by epoch: whether the architecture decides, and what the tester makes."""

from __future__ import annotations

from collections.abc import Sequence

from nni_wcnas.compare.hypothesis_test import summarise
from nni_wcnas.compare.method import Method
from nni_wcnas.compare.plot import Point, curves
from nni_wcnas.page.html import escape

__all__ = ['search_course']

_SHOWN = 7
"""Epochs that a curve shows at most, so that their numbers have room below it."""


def search_course(methods: Sequence[Method]) -> str:
    """Show how the searches went: the entropy of A by epoch, and the images of each method's tester.

    Parameters
    ----------
    methods
        The methods; of each with a tester the images of the first search that has some are shown.

    Returns
    -------
    str
        HTML; empty where no record holds a search's course.
    """
    curve = curves('Entropy of A', {method.name: _entropy(method) for method in methods}, x_label='epoch', unit='',
                   note=' Nats, mean of all choices; low means that the architecture has decided. Bars are a standard '
                        'deviation over the seeds.')
    plot = f'<div class="grid plots">{curve}</div>' if curve else ''
    return plot + ''.join(_images(method) for method in methods)


def _entropy(method: Method) -> list[Point]:
    """Return the entropy of A at some epochs, the first and the last among them, as points over the searches."""
    values: dict[float, list[float]] = {}
    for record in method.records:
        for row in record.search_history:
            if 'entropy' in row:
                # Searches of one method may differ in length: an epoch's mean is over those that reached it.
                values.setdefault(row['epoch'], []).append(row['entropy'])
    epochs = sorted(values)
    count = min(len(epochs), _SHOWN)
    # Evenly spread indices, rounded down, from the first epoch to the last.
    shown = [epochs[place * (len(epochs) - 1) // max(count - 1, 1)] for place in range(count)]
    summaries = {epoch: summarise(values[epoch]) for epoch in shown}
    return [Point(epoch, summary.mean, summary.deviation) for epoch, summary in summaries.items()]


def _images(method: Method) -> str:
    """Show the image grids of the first search of a method that has some; empty without one."""
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
