"""Marks and lines that tell the methods of a plot apart, also in print without colours.

Each method has a shape and a filling of its own: six shapes, filled, hollow and with a dot, are eighteen marks; lines
are solid, dashed and dotted with them. The colour moves on by one with each filling, so that neighbours of one shape
differ in it, too.
"""

from __future__ import annotations

from nni_wcnas.page.html import escape

__all__ = ['key', 'line_kind', 'mark']

# SVG paths around the origin, in pixels: circle, square, triangle, diamond, triangle downwards, cross.
_SHAPES = ('M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0', 'M-4 -4h8v8h-8z', 'M0 -5.2L5 4H-5z',
           'M0 -5.5L5.5 0L0 5.5L-5.5 0z', 'M0 5.2L5 -4H-5z', 'M-5 -1.6h3.4V-5h3.2v3.4H5v3.2H1.6V5h-3.2V1.6H-5z')
_FILLINGS = ('', ' hollow', ' dotted')
_COLOURS = 6
"""Number of colours in the style of a comparison: its CSS classes ``m0`` to ``m5``."""
_DOT = 'M-.6 0a.6 .6 0 1 0 1.2 0a.6 .6 0 1 0 -1.2 0'
"""Path that is added to the shape of a mark with a dot."""


def mark(x: float, y: float, place: int, title: str) -> str:
    """Draw a method's mark as a part of an SVG.

    Parameters
    ----------
    x, y
        Position of the middle of the mark, in pixels.
    place
        Position of the method among all, from 0.
    title
        Plain text that is shown when a pointer is over the mark.
    """
    shape, filling = _SHAPES[place % len(_SHAPES)], _filling(place)
    return (f'<path class="mark m{_colour(place)}{filling}" transform="translate({x:.1f} {y:.1f})" '
            f'd="{shape}{_DOT if filling == " dotted" else ""}"><title>{escape(title)}</title></path>')


def line_kind(place: int) -> str:
    """Return the CSS classes of a method's lines and bars: its colour and its filling."""
    return f'm{_colour(place)}{_filling(place)}'


def key(place: int) -> str:
    """Draw a method's mark as a small SVG of its own, to stand beside its name."""
    return f'<svg class="curve mini" viewBox="-7 -7 14 14" aria-hidden="true">{mark(0, 0, place, "")}</svg>'


def _filling(place: int) -> str:
    """Return the CSS class of a method's filling, with a space before it; empty for filled marks."""
    return _FILLINGS[place // len(_SHAPES) % len(_FILLINGS)]  # Which round of the shapes it is, counted modulo 3.


def _colour(place: int) -> int:
    """Return the number of a method's colour, from 0; it is one further in each round of the shapes."""
    # Without the second term a shape would have the same colour in every round, as there are six of both.
    return (place + place // len(_SHAPES)) % _COLOURS
