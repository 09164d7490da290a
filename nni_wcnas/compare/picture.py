"""Pictures of a comparison: the found cells, and what each network says about the hardest test images."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from nni_wcnas.compare.method import Method
from nni_wcnas.compare.view import view_of
from nni_wcnas.files.record import Record
from nni_wcnas.page.drawing import draw_cell
from nni_wcnas.page.template import Picture, picture, render
from nni_wcnas.spaces.architecture import Architecture

__all__ = ['architectures', 'cells', 'hardest_images']

_CAPTIONS = {'normal': 'normal cell', 'reduce': 'reduction cell', 'cell': 'cell'}


def architectures(methods: Sequence[Method]) -> list[tuple[str, Architecture | None]]:
    """Return the architecture of every record under the name of its method, its seed and what it sees."""
    found = []
    for method in methods:
        for record in method.records:
            seed = '' if record.seed is None else f', seed {record.seed}'
            view = f' (sees {view_of(record)})' if view_of(record) else ''
            architecture = Architecture(**record.architecture) if record.architecture else None
            found.append((f'{method.name}{seed}{view}', architecture))
    return found


def cells(found: Iterable[tuple[str, Architecture | None]]) -> Markup:
    """Draw the cells of architectures, each in a part of the page that folds; equal ones are drawn once.

    Parameters
    ----------
    found
        Name and architecture of each network; None where it is not known.

    Returns
    -------
    Markup
        HTML; the first two parts are open.
    """
    drawn: dict[tuple[Picture, ...], list[str]] = {}  # Names by drawing: equal cells give equal SVG.
    for name, architecture in found:
        drawn.setdefault(() if architecture is None else _pictures(architecture), []).append(name)
    # Retrainings of one search have one name, which is written once.
    parts = [('; '.join(dict.fromkeys(names)), pictures) for pictures, names in drawn.items()]
    return render('cells', drawn=parts)


def _pictures(architecture: Architecture) -> tuple[Picture, ...]:
    """Draw all cells of an architecture; empty for a space without cells."""
    # Drawings are made as files, and go into the page as text.
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: draw_cell(genotype, Path(folder) / f'{name}.svg', inputs=architecture.num_inputs,
                                 outputs=architecture.outputs(name))
                 for name, genotype in architecture.genotype().items()}
        return tuple(picture(path, _CAPTIONS[name], _CAPTIONS[name]) for name, path in paths.items())


def hardest_images(methods: Sequence[Method]) -> Markup:
    """Make one card for each of the hardest images: the image, its class, and what each network says of it.

    Only images that all records hold are shown, in the order of the first record; without any the result is empty.
    """
    records = [(method, record) for method in methods for record in method.records if record.hardest]
    if not records:
        return Markup('')
    names = records[0][1].class_names
    # Answers by position in the test set: each network may have recorded other images, or another order.
    said = [{example['position']: example for example in record.hardest} for _, record in records]
    shown = [example for example in records[0][1].hardest if all(example['position'] in each for each in said)]
    cards = [{'source': f'data:image/png;base64,{example["image"]}', 'position': example['position'],
              'truth': names[example['label']],
              'answers': [_answer(method, record, each[example['position']])
                          for (method, record), each in zip(records, said, strict=True)]}
             for example in shown]
    return render('hardest', cards=cards)


def _answer(method: Method, record: Record, answer: dict[str, Any]) -> dict[str, Any]:
    """Return what a network says of an image, as the template of the cards asks for it."""
    return {
        'method': method.name, 'seeds': f'{"–" if record.seed is None else record.seed}/{record.retraining_seed}',
        'is_right': answer['predicted'] == answer['label'], 'predicted': record.class_names[answer['predicted']],
        'confidence': f'{100 * answer["confidence"]:.0f}',
    }
