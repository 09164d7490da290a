"""Drawings are well formed, the same each time, and no label hides another."""

import itertools
import random
import re
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from nni_wcnas.contracts import Choice
from nni_wcnas.page import drawing
from nni_wcnas.page.drawing import draw_cell, draw_grid
from nni_wcnas.spaces.operations import PRIMITIVES


def random_cell(seed, nodes=4):
    generator = random.Random(seed)
    return tuple(
        tuple(Choice(generator.choice(PRIMITIVES[1:]), source) for source in generator.sample(range(node + 2), 2))
        for node in range(nodes)
    )


def test_svg_is_well_formed_and_asks_no_host(architecture, tmp_path):
    path = draw_cell(architecture.cell('normal'), tmp_path / 'cell.svg')
    text = path.read_text()
    root = ElementTree.fromstring(text)
    assert root.tag == '{http://www.w3.org/2000/svg}svg'
    references = [
        value
        for element in root.iter()
        for name, value in element.attrib.items()
        if name.endswith('href') or name == 'src'
    ]
    assert references
    assert all(reference.startswith('#') for reference in references)
    assert '<script' not in text
    words = re.findall('<!-- (.*?) -->', text)
    assert words.count('sep_conv_3x3') == 5
    assert words.count('skip_connect') == 2
    assert words.count('dil_conv_3x3') == 1
    assert {'0', '1', '2', '3', '$c_{k-2}$', '$c_{k-1}$', '$c_k$'} <= set(words)


def test_the_same_cell_gives_the_same_bytes(architecture, tmp_path):
    first = draw_cell(architecture.cell('reduce'), tmp_path / 'a.svg').read_bytes()
    assert draw_cell(architecture.cell('reduce'), tmp_path / 'b.svg').read_bytes() == first
    assert draw_cell(architecture.cell('normal'), tmp_path / 'c.svg').read_bytes() != first


def test_a_dense_cell_has_one_input(tmp_path):
    names = iter(('nor_conv_3x3', 'none', 'skip_connect', 'avg_pool_3x3', 'none', 'nor_conv_1x1'))
    cell = tuple(tuple(Choice(next(names), source) for source in range(node)) for node in (1, 2, 3))
    words = re.findall('<!-- (.*?) -->', draw_cell(cell, tmp_path / 'cell.svg', inputs=1).read_text())
    assert words.count('none') == 2 and words.count('nor_conv_3x3') == 1
    assert {'0', '1', '2', '$c_{k-1}$', '$c_k$'} <= set(words) and '$c_{k-2}$' not in words
    sizes = [draw_cell(cell, tmp_path / 'b.svg', inputs=1, outputs=nodes).stat().st_size for nodes in ((2,), (0, 1, 2))]
    assert sizes[0] < sizes[1], 'fewer lines to the output'
    layout = drawing._Layout(cell, 1)
    assert layout.columns == [0, 1, 2, 3], 'each node behind the one before'


@pytest.mark.parametrize('nodes', [1, 2, 4, 7])
def test_no_label_hides_another(nodes):
    for seed in range(40):
        layout = drawing._Layout(random_cell(seed, nodes))
        boxes = []
        for state in range(2, nodes + 2):
            left, right = layout.x_label(state), layout.x_out(state)
            # Each label, and all that belongs to a node, lies on rows of its own.
            boxes += [
                (left, right, row - drawing._LABEL_HEIGHT / 2, row + drawing._LABEL_HEIGHT / 2)
                for _, row in layout.labels(state)
            ]
            assert all(layout.columns[choice.source] < layout.columns[state] for choice in layout.cell[state - 2])
            assert all(
                layout.x_out(choice.source) + drawing._CHANNEL <= left + 1e-9 for choice in layout.cell[state - 2]
            )
        for one, other in itertools.combinations(boxes, 2):
            assert one[3] < other[2] + 1e-9 or other[3] < one[2] + 1e-9, (
                'labels share no row, so that no arrow runs over one'
            )
        assert all(top >= 0 and bottom <= layout.height and right < layout.width for _, right, top, bottom in boxes)


def test_columns_are_longest_paths():
    cell = (
        (Choice('skip_connect', 0),),
        (Choice('skip_connect', 2), Choice('skip_connect', 0)),
        (Choice('skip_connect', 1),),
    )
    assert drawing._Layout(cell).columns == [0, 0, 1, 2, 1]


def test_png(architecture, tmp_path):
    image = Image.open(draw_cell(architecture.cell('normal'), tmp_path / 'cell.png'))
    assert image.mode == 'RGBA'
    assert image.size[0] > image.size[1] > 100


def test_grid_has_a_row_for_each_class(tmp_path):
    labels = torch.tensor([4, 1, 4, 4, 1])
    images = torch.stack([torch.full((3, 32, 32), value) for value in (-1.0, 0.0, 0.5, 1.0, 9.0)])
    picture = Image.open(draw_grid(images, labels, tmp_path / 'deep' / 'grid.png', columns=2))
    assert picture.size == (2 * 34 + 2, 2 * 34 + 2)
    middles = [
        [picture.getpixel((2 + 34 * column + 16, 2 + 34 * row + 16))[0] for column in range(2)] for row in range(2)
    ]
    assert middles == [[128, 255], [0, 191]]


def test_small_images_are_enlarged(tmp_path):
    picture = Image.open(draw_grid(torch.zeros(1, 3, 8, 8), torch.zeros(1), tmp_path / 'grid.png'))
    assert picture.size == (40, 40)


def test_no_images(tmp_path):
    with pytest.raises(ValueError, match='no images to draw'):
        draw_grid(torch.zeros(0, 3, 8, 8), torch.zeros(0), tmp_path / 'grid.png')
