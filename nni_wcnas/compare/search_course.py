"""How the searches went, epoch by epoch: whether the architecture decides, and what the tester makes."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from nni_wcnas.compare.hypothesis_test import summarise
from nni_wcnas.compare.method import Method
from nni_wcnas.page.chart import Point, charts, lines
from nni_wcnas.page.template import Picture, note, render

__all__ = ['search_course']

_SHOWN = 7
"""Epochs that a curve shows at most, so that their numbers have room below it."""


def search_course(methods: Sequence[Method]) -> Markup:
    """Show how the searches went: the entropy of A by epoch, and the images of each search's tester.

    Parameters
    ----------
    methods
        The methods; searches whose testers made the same images are shown once.

    Returns
    -------
    Markup
        HTML; empty where no record holds a search's course.
    """
    curve = lines('Entropy of A', {method.name: _entropy(method) for method in methods}, x_label='epoch',
                  note='Nats, mean of all choices; low means that the architecture has decided. Bars are a standard '
                       'deviation over the seeds.')
    groups = [group for method in methods for group in _images(method)]
    remark = note("The tester's images: a row a class. Epoch 0 is before the search.") if groups else Markup('')
    return charts([curve]) + remark + (render('images', groups=groups) if groups else Markup(''))


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


def _images(method: Method) -> list[tuple[str, tuple[Picture, ...]]]:
    """Return the image grids of each search of a method that has some, under its name and seeds."""
    seeds: dict[tuple[Picture, ...], list[str]] = {}
    for record in method.records:
        pictures = tuple(Picture(f'data:image/png;base64,{grid["image"]}', f'images of the tester at epoch '
                                 f'{grid["epoch"]}, a row a class', f'epoch {grid["epoch"]}')
                         for grid in record.tester_images)
        if pictures:
            # Retrainings of one search hold the same images.
            seeds.setdefault(pictures, []).append('' if record.seed is None else f'{record.seed}')
    return [(_named(method.name, found), pictures) for pictures, found in seeds.items()]


def _named(method: str, seeds: Sequence[str]) -> str:
    """Name the tester of some searches, such as ``The tester's images: wcnas, seed 0``."""
    known = list(dict.fromkeys(seed for seed in seeds if seed))
    seed = f', seed {", ".join(known)}' if known else ''
    return f"The tester's images: {method}{seed}"
