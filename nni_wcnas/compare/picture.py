"""Pictures of a comparison: the found cells, and what each network says about the hardest test images."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from nni_wcnas.compare.method import Method
from nni_wcnas.files.record import Record
from nni_wcnas.page.drawing import draw_cell
from nni_wcnas.page.html import escape, image_source
from nni_wcnas.spaces.architecture import Architecture

__all__ = ['cells', 'hardest_images']

_CAPTIONS = {'normal': 'normal cell', 'reduce': 'reduction cell', 'cell': 'cell'}


def cells(methods: Sequence[Method]) -> str:
    """Draw the cells of every record, each in a part of the page that folds; equal architectures are drawn once.

    Parameters
    ----------
    methods
        The methods whose records are drawn.

    Returns
    -------
    str
        HTML; the first two parts are open.
    """
    drawn: dict[str, list[str]] = {}  # Names by drawing: equal cells give equal SVG.
    for method in methods:
        for record in method.records:
            seed = '' if record.seed is None else f', seed {record.seed}'
            drawn.setdefault(_figures(record), []).append(f'{method.name}{seed}{_view(record)}')
    parts = []
    for place, (figures, names) in enumerate(drawn.items()):  # Two open ones can be compared at a glance.
        body = figures or '<p class="soft">A space without cells, or no architecture in the record.</p>'
        summary = escape('; '.join(dict.fromkeys(names)))
        parts.append(f'<details{" open" if place < 2 else ""}><summary>{summary}</summary>'
                     f'<div class="cells">{body}</div></details>')
    return '\n'.join(parts)


def _view(record: Record) -> str:
    """Say in brackets what the network sees of its images; empty where the space leaves no choice."""
    view = Architecture(**record.architecture).view if record.architecture else None
    return f' (sees {view})' if view else ''


def _figures(record: Record) -> str:
    """Draw all cells of a record's architecture as HTML figures; empty without an architecture."""
    if not record.architecture:
        return ''
    architecture = Architecture(**record.architecture)
    figures = []
    # Drawings are made as files, and go into the page as text.
    with tempfile.TemporaryDirectory() as folder:
        for name, genotype in architecture.genotype().items():
            path = draw_cell(genotype, Path(folder) / f'{name}.svg', inputs=architecture.num_inputs,
                             outputs=architecture.outputs(name))
            caption = _CAPTIONS[name]
            figures.append(f'<figure><img src="{image_source(path)}" alt="{caption}">'
                           f'<figcaption>{caption}</figcaption></figure>')
    return ''.join(figures)


def hardest_images(methods: Sequence[Method]) -> str:
    """Write one card for each of the hardest images: the image, its class, and what each network says of it.

    Only images that all records hold are shown, in the order of the first record.
    """
    records = [(method, record) for method in methods for record in method.records if record.hardest]
    if not records:
        return '<p class="soft">Not recorded yet; get them with <code>nni-wcnas evaluate RUN</code>.</p>'
    names = records[0][1].class_names
    # Answers by position in the test set: each network may have recorded other images, or another order.
    said = [{example['position']: example for example in record.hardest} for _, record in records]
    shown = [example for example in records[0][1].hardest if all(example['position'] in each for each in said)]
    cards = []
    for example in shown:
        rows = []
        for (method, record), each in zip(records, said, strict=True):
            answer = each[example['position']]
            right = answer['predicted'] == answer['label']
            seeds = f'{"–" if record.seed is None else record.seed}/{record.retraining_seed}'
            # The sign says the same as the colour of the row, for readers who cannot tell the colours apart.
            rows.append(f'<tr class="{"right" if right else "wrong"}"><td>{escape(method.name)} '
                        f'<span class="sd">{seeds}</span></td><td>{"✓" if right else "✗"} '
                        f'{escape(names[answer["predicted"]])}</td>'
                        f'<td class="number">{100 * answer["confidence"]:.0f} %</td></tr>')
        truth = escape(names[example['label']])
        cards.append(f'<figure class="hard"><img src="data:image/png;base64,{example["image"]}" alt="a test image of '
                     f'class {truth}"><figcaption>image {example["position"]}: <b>{truth}</b></figcaption>'
                     f'<table>{"".join(rows)}</table></figure>')
    return f'<div class="grid hardest">{"".join(cards)}</div>'
