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
    """The drawn cells of every record, a fold a record; equal architectures once."""
    drawn: dict[str, list[str]] = {}
    for method in methods:
        for record in method.records:
            seed = '' if record.seed is None else f', seed {record.seed}'
            drawn.setdefault(_figures(record), []).append(f'{method.name}{seed}{_view(record)}')
    parts = []
    for place, (figures, names) in enumerate(drawn.items()):
        body = figures or '<p class="soft">A space without cells, or no architecture in the record.</p>'
        summary = escape('; '.join(dict.fromkeys(names)))
        parts.append(f'<details{" open" if place < 2 else ""}><summary>{summary}</summary>'
                     f'<div class="cells">{body}</div></details>')
    return '\n'.join(parts)


def _view(record: Record) -> str:
    """What the network sees of its images, where that was a choice."""
    view = Architecture(**record.architecture).view if record.architecture else None
    return f' (sees {view})' if view else ''


def _figures(record: Record) -> str:
    """Both cells as figures."""
    if not record.architecture:
        return ''
    architecture = Architecture(**record.architecture)
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for name, genotype in architecture.genotype().items():
            path = draw_cell(genotype, Path(folder) / f'{name}.svg', inputs=architecture.num_inputs,
                             outputs=architecture.outputs(name))
            caption = _CAPTIONS[name]
            figures.append(f'<figure><img src="{image_source(path)}" alt="{caption}">'
                           f'<figcaption>{caption}</figcaption></figure>')
    return ''.join(figures)


def hardest_images(methods: Sequence[Method]) -> str:
    """One card an image: the image, its class, and each network's class and confidence."""
    records = [(method, record) for method in methods for record in method.records if record.hardest]
    if not records:
        return '<p class="soft">Not recorded yet; get them with <code>nni-wcnas evaluate RUN</code>.</p>'
    names = records[0][1].class_names
    said = [{example['position']: example for example in record.hardest} for _, record in records]
    shown = [example for example in records[0][1].hardest if all(example['position'] in each for each in said)]
    cards = []
    for example in shown:
        rows = []
        for (method, record), each in zip(records, said, strict=True):
            answer = each[example['position']]
            right = answer['predicted'] == answer['label']
            seeds = f'{"–" if record.seed is None else record.seed}/{record.retraining_seed}'
            rows.append(f'<tr class="{"right" if right else "wrong"}"><td>{escape(method.name)} '
                        f'<span class="sd">{seeds}</span></td><td>{"✓" if right else "✗"} '
                        f'{escape(names[answer["predicted"]])}</td>'
                        f'<td class="number">{100 * answer["confidence"]:.0f} %</td></tr>')
        truth = escape(names[example['label']])
        cards.append(f'<figure class="hard"><img src="data:image/png;base64,{example["image"]}" alt="a test image of '
                     f'class {truth}"><figcaption>image {example["position"]}: <b>{truth}</b></figcaption>'
                     f'<table>{"".join(rows)}</table></figure>')
    return f'<div class="grid hardest">{"".join(cards)}</div>'
