"""Drawings: a found cell, and a grid of generated images.

A cell is drawn from left to right, a node's column being its longest path from an input. Every node has a row of its
own, an arrow changes rows right after its source and carries its operation right before its target, so no label lies on
another or on an arrow that is not its own.
"""

from __future__ import annotations

import io
import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve
from PIL import Image
from torch import Tensor

from nni_wcnas.atomic import write_atomically
from nni_wcnas.contracts import CellGenotype
from nni_wcnas.functional.image_range import signed_to_bytes

__all__ = ['draw_cell', 'draw_grid']

# Families of operations, from a palette that colour-blind readers can tell apart; on white and on black.
_COLOURS = {
    'sep_conv': '#0072b2', 'dil_conv': '#a24b96', 'max_pool': '#008a64', 'avg_pool': '#008a64', 'skip': '#c77700',
}
_OTHER, _FRAME, _INK = '#6b7280', '#7b8494', '#1f2430'
# Lengths in inches.
_LABEL_HEIGHT, _LABEL_PITCH, _CHARACTER = 0.30, 0.40, 0.09
_CHANNEL, _GAP, _RADIUS, _ROW_GAP, _MARGIN = 0.95, 0.34, 0.24, 0.30, 0.12
_INPUT_WIDTH, _INPUT_HEIGHT = 0.72, 0.46
_INPUTS = ('c_{k-2}', 'c_{k-1}')


class _Layout:
    """The places of the parts of a drawn cell, in inches; y grows downwards.

    A state is an input or a node of the cell; states count the inputs first. A state's column is its longest path from
    an input, and its row is its height on the page.

    Parameters
    ----------
    cell
        Kept edges by node.
    inputs
        Number of the cell's inputs.
    """

    def __init__(self, cell: CellGenotype, inputs: int = 2):
        self.cell, self.inputs = cell, inputs
        # column(j) = 1 + max over the edges (i, j) of column(i). Sources come before their node, so one pass is enough.
        self.columns = [0] * inputs
        for choices in cell:
            self.columns.append(1 + max((self.columns[choice.source] for choice in choices), default=0))
        self.depth = max(self.columns)
        # Every row has room for the labels of the node with the most edges, so that no two nodes' labels meet.
        self.row_height = max(len(choices) for choices in cell) * _LABEL_PITCH + _ROW_GAP
        self.height = max(len(cell) * self.row_height, 4 * _INPUT_HEIGHT)
        # A box fits the longest name in the font that is drawn, of about 0.09 inches a character.
        longest = max(len(choice.operation) for choices in cell for choice in choices)
        self.label_width = _CHARACTER * longest + 0.25
        # A column, from left to right: a channel in which arrows change rows, the labels, short arrows, the node.
        self.pitch = _CHANNEL + self.label_width + _GAP + 2 * _RADIUS
        self.order = self._best_order()
        self.rows = self._rows(self.order)
        self.output = _MARGIN + _INPUT_WIDTH + self.depth * self.pitch + _CHANNEL
        self.width = self.output + _INPUT_WIDTH + _MARGIN

    def x_out(self, state: int) -> float:
        """Return the x at which arrows leave a state: its right end."""
        return _MARGIN + _INPUT_WIDTH + self.columns[state] * self.pitch

    def x_label(self, state: int) -> float:
        """Return the x at which a node's labels begin."""
        return _MARGIN + _INPUT_WIDTH + (self.columns[state] - 1) * self.pitch + _CHANNEL

    def labels(self, state: int) -> list[tuple[int, float]]:
        """Return the edges of a node with the y of their labels; the edge from the highest source is on top.

        With the labels in the order of their sources, arrows that enter one node do not cross.
        """
        choices = self.cell[state - self.inputs]
        edges = sorted(range(len(choices)), key=lambda edge: self.rows[choices[edge].source])
        middle = (len(edges) - 1) / 2
        return [(edge, self.rows[state] + (place - middle) * _LABEL_PITCH) for place, edge in enumerate(edges)]

    def _rows(self, order: tuple[int, ...]) -> list[float]:
        """Return the y of each state, inputs first, given the number of each node's row."""
        inputs = [self.height * share for share in ((0.5,) if self.inputs == 1 else (0.3, 0.7))]
        return inputs + [(place + 0.5) * self.height / len(order) for place in order]

    def _best_order(self) -> tuple[int, ...]:
        """Return the order of the nodes' rows in which arrows climb least; with more than six nodes their own order.

        All orders are tried: 720 for six nodes, but 5040 for seven.
        """
        natural = tuple(range(len(self.cell)))
        return natural if len(natural) > 6 else min(itertools.permutations(natural), key=self._climb)

    def _climb(self, order: tuple[int, ...]) -> float:
        """Return how far all arrows together go up and down in an order of the rows, in inches."""
        rows = self._rows(order)
        return sum(abs(rows[choice.source] - rows[state])
                   for state, choices in enumerate(self.cell, start=self.inputs) for choice in choices)


def draw_cell(genotype: CellGenotype, path: str | os.PathLike[str], *, inputs: int = 2,
              outputs: Sequence[int] | None = None) -> Path:
    """Draw a cell on a transparent background, readable on white and on black, and write it as a picture.

    Parameters
    ----------
    genotype
        Kept edges by node, e.g. ``architecture.cell('normal')``.
    path
        The file to write; its suffix, ``.svg`` or ``.png``, chooses the format.
    inputs
        Number of the cell's inputs: 2, the outputs of the two cells before, or 1.
    outputs
        Nodes, counted from 0, that are the output of the cell; None is all.

    Returns
    -------
    pathlib.Path
        The file.
    """
    path = Path(path)
    layout = _Layout(genotype, inputs)
    figure = Figure(figsize=(layout.width, layout.height))
    # One unit of the axes is an inch, and y is turned round to grow downwards.
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, layout.width), ylim=(layout.height, 0))
    axes.set_axis_off()
    for state in range(inputs, len(layout.columns)):
        _draw_node(axes, layout, state, is_output=outputs is None or state - inputs in outputs)
    for state, name in enumerate(_INPUTS[-inputs:]):  # A single input is the last cell's.
        _draw_box(axes, _MARGIN, layout.rows[state], _INPUT_WIDTH, _INPUT_HEIGHT, f'${name}$', _FRAME, 13)
    _draw_box(axes, layout.output, layout.height / 2, _INPUT_WIDTH, _INPUT_HEIGHT, '$c_k$', _FRAME, 13)
    buffer = io.BytesIO()
    is_svg = path.suffix == '.svg'
    # matplotlib names the parts of an SVG at random and dates it: with a salt and without the date, equal cells give
    # equal files. As paths, the letters need no font where the file is shown.
    with matplotlib.rc_context({'svg.hashsalt': 'nni_wcnas', 'svg.fonttype': 'path'}):
        figure.savefig(buffer, format=path.suffix[1:], transparent=True, dpi=150,
                       metadata={'Date': None, 'Creator': None} if is_svg else None)
    write_atomically(path, buffer.getvalue())
    return path


def _draw_node(axes: Axes, layout: _Layout, state: int, *, is_output: bool) -> None:
    """Draw a node, its labelled edges and, if it is one of the output's, its way to the output."""
    x_label, y = layout.x_label(state), layout.rows[state]
    centre = layout.x_out(state) - _RADIUS
    for edge, y_label in layout.labels(state):
        choice = layout.cell[state - layout.inputs][edge]
        colour = next((colour for family, colour in _COLOURS.items() if choice.operation.startswith(family)), _OTHER)
        x_source = layout.x_out(choice.source)
        _draw_curve(axes, (x_source, layout.rows[choice.source]), (x_source + _CHANNEL, y_label), x_label, colour, 1.5)
        _draw_box(axes, x_label, y_label, layout.label_width, _LABEL_HEIGHT, choice.operation, colour, 9.5)
        # The arrow ends on the circle around the node, not in its middle: the tip lies a radius before it.
        start, reach = np.array([x_label + layout.label_width, y_label]), np.array([centre, y])
        tip = reach + (start - reach) / np.linalg.norm(start - reach) * _RADIUS
        axes.annotate('', (tip[0], tip[1]), (start[0], start[1]), arrowprops={
            'arrowstyle': '-|>', 'color': colour, 'lw': 1.5, 'shrinkA': 0, 'shrinkB': 0})
    if is_output:
        # Straight through the columns in between, along the node's own row, in which nothing else lies.
        last = layout.output - _CHANNEL
        _draw_curve(axes, (layout.x_out(state), y), (layout.x_out(state), y), last, _FRAME, 1.1)
        _draw_curve(axes, (last, y), (layout.output, layout.height / 2), layout.output, _FRAME, 1.1)
    axes.add_patch(Circle((centre, y), _RADIUS, facecolor='#ffffff', edgecolor=_INK, linewidth=1.4, zorder=4))
    axes.text(centre, y, str(state - layout.inputs), ha='center', va='center', fontsize=12, color=_INK, zorder=5)


def _draw_curve(axes: Axes, start: tuple[float, float], stop: tuple[float, float], x_end: float, colour: str,
                width: float) -> None:
    """Draw a line that changes rows between ``start`` and ``stop``, then goes straight on to ``x_end``."""
    # A cubic Bezier curve, level at both ends as its inner points have the heights of the outer ones.
    middle = (start[0] + stop[0]) / 2
    points = [start, (middle, start[1]), (middle, stop[1]), stop, (x_end, stop[1])]
    curve = Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4, Curve.LINETO])
    axes.add_patch(PathPatch(curve, facecolor='none', edgecolor=colour, linewidth=width, capstyle='round', zorder=1))


def _draw_box(axes: Axes, left: float, y: float, width: float, height: float, text: str, colour: str,
              size: float) -> None:
    """Draw a word in a rounded frame."""
    axes.add_patch(FancyBboxPatch(
        (left, y - height / 2), width, height, boxstyle=f'round,pad=0,rounding_size={height / 2.2}',
        facecolor='#ffffff', edgecolor=colour, linewidth=1.4, zorder=4))
    axes.text(left + width / 2, y, text, ha='center', va='center', fontsize=size, color=_INK, zorder=5)


def draw_grid(images: Tensor, labels: Tensor, path: str | os.PathLike[str], columns: int = 10) -> Path:
    """Tile images into one picture, with a row for each class, and write it.

    Parameters
    ----------
    images
        In [-1, 1], shape ``(N, 3, H, W)``; values outside are clipped.
    labels
        Shape ``(N,)``.
    path
        The ``.png`` file to write.
    columns
        Images in a row at most; a class shows its first ones.

    Returns
    -------
    pathlib.Path
        The file.
    """
    # (N, 3, H, W) -> (N, H, W, 3), as pictures are laid out.
    pixels = signed_to_bytes(images.detach().float()).permute(0, 2, 3, 1).cpu().numpy()
    kinds = labels.detach().cpu().numpy()
    rows = [pixels[kinds == kind][:columns] for kind in np.unique(kinds)]
    if not rows:
        raise ValueError('there are no images to draw: give at least one')
    height, width = pixels.shape[1:3]
    # Tiny images are enlarged pixel by pixel to 32 at least, or nobody sees anything.
    scale = max(1, math.ceil(32 / height))
    gap = max(1, height // 16)
    # Grey, shape (rows' height, columns' width, 3), with a gap around every tile.
    canvas = np.full((len(rows) * (height + gap) + gap, max(map(len, rows)) * (width + gap) + gap, 3), 128, np.uint8)
    for row, tiles in enumerate(rows):
        for column, tile in enumerate(tiles):
            top, left = gap + row * (height + gap), gap + column * (width + gap)
            canvas[top:top + height, left:left + width] = tile
    buffer = io.BytesIO()
    Image.fromarray(canvas.repeat(scale, axis=0).repeat(scale, axis=1)).save(buffer, 'PNG')
    write_atomically(path, buffer.getvalue())
    return Path(path)
