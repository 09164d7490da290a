"""Marks and lines that tell the series of a chart apart, also in print without colours.

Each series has a shape and a filling of its own: six shapes, filled, hollow and with a dot, are eighteen marks; lines
are solid, dashed and dotted with them. The colour moves on by one with each filling, so that neighbours of one shape
differ in it, too.
"""

from __future__ import annotations

__all__ = ['kind', 'shape']

# SVG paths around the origin, in pixels: circle, square, triangle, diamond, triangle downwards, cross.
_SHAPES = ('M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0', 'M-4 -4h8v8h-8z', 'M0 -5.2L5 4H-5z',
           'M0 -5.5L5.5 0L0 5.5L-5.5 0z', 'M0 5.2L5 -4H-5z', 'M-5 -1.6h3.4V-5h3.2v3.4H5v3.2H1.6V5h-3.2V1.6H-5z')
_FILLINGS = ('', ' hollow', ' dotted')
_COLOURS = 6
"""Number of colours in the style of every page: its CSS classes ``m0`` to ``m5``."""
_DOT = 'M-.6 0a.6 .6 0 1 0 1.2 0a.6 .6 0 1 0 -1.2 0'
"""Path that is added to the shape of a mark with a dot."""


def shape(place: int) -> str:
    """Return the SVG path of a series' mark around the origin, by the position of the series among all, from 0."""
    return _SHAPES[place % len(_SHAPES)] + (_DOT if _filling(place) == ' dotted' else '')


def kind(place: int) -> str:
    """Return the CSS classes of a series' marks, lines and bars: its colour and its filling."""
    # Without the second term a shape would have the same colour in every round, as there are six of both.
    return f'm{(place + place // len(_SHAPES)) % _COLOURS}{_filling(place)}'


def _filling(place: int) -> str:
    """Return the CSS class of a series' filling, with a space before it; empty for filled marks."""
    return _FILLINGS[place // len(_SHAPES) % len(_FILLINGS)]  # Which round of the shapes it is, counted modulo 3.
