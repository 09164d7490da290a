"""Plots with error bars over the seeds, as inline SVG; the page's style colours them for light, dark and paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from nni_wcnas.compare.mark import key, line_kind, mark
from nni_wcnas.page.html import escape

__all__ = ['Point', 'bars', 'curves']

# Pixels of the SVG's own coordinates; the page scales it. The margins hold the numbers of the axes.
_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 40
_LETTERS = 18
"""Letters of a method's name that fit on one line before its row."""
_SPREAD = 16
"""Pixels over which the lines of a plot are spread at most, so that their bars lie side by side."""


@dataclass(frozen=True)
class Point:
    """A mean over the seeds at a position ``x``, with its deviation (None with one seed) and the averaged values."""

    x: float
    mean: float
    deviation: float | None
    values: tuple[float, ...] = ()


def bars(title: str, rows: Sequence[tuple[str, Point]], *, unit: str, note: str = '') -> str:
    """Draw one row for each method: dots for the seeds, a mark for the mean, a bar of one deviation to either side.

    Parameters
    ----------
    title, note
        Texts above and below the plot, plain.
    rows
        Name of each method and its point, in the reader's unit; ``x`` is not used.
    unit
        Unit of the values.

    Returns
    -------
    str
        A ``<figure>``; empty without rows.
    """
    if not rows:
        return ''
    spread = [value for _, point in rows for value in (*point.values, *_ends(point))]
    # Names need more room than the numbers of a vertical axis. A row is 30 pixels high.
    axis = _Axis(min(spread), max(spread), _LEFT + 74, _WIDTH - _RIGHT)
    height = _TOP + 30 * len(rows) + _BOTTOM
    parts = [
        f'<line class="rule" x1="{axis(tick):.1f}" x2="{axis(tick):.1f}" y1="{_TOP}" y2="{height - _BOTTOM}"/>'
        f'<text x="{axis(tick):.1f}" y="{height - _BOTTOM + 15}" text-anchor="middle">{tick:g}</text>'
        for tick in axis.ticks
    ]
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{height - 8}" text-anchor="end">{escape(unit)}</text>')
    for place, (name, point) in enumerate(rows):
        y = _TOP + 30 * place + 15
        low, high = _ends(point)
        kind = line_kind(place)
        parts.append(_name(name, y))
        if point.deviation is not None:
            # A whisker at each end of a level line.
            parts.append(f'<path class="bar {kind}" d="M{axis(low):.1f} {y - 5}v10m0 -5H{axis(high):.1f}m0 -5v10"/>')
        parts += [f'<circle class="seed {kind}" cx="{axis(value):.1f}" cy="{y}" r="3"/>' for value in point.values]
        parts.append(mark(axis(point.mean), y, place, f'{name}: {point.mean:.4g} {unit}'))
    return _figure(title, height, parts, '; '.join(f'{name}: {point.mean:.4g} {unit}' for name, point in rows), note)


def curves(title: str, lines: Mapping[str, Sequence[Point]], *, x_label: str, unit: str, note: str = '') -> str:
    """Draw one line for each method, with a bar of one standard deviation to either side of each point.

    Parameters
    ----------
    title, note
        Texts above and below the plot, plain.
    lines
        Points of each method, in the reader's unit; a method without any is left out.
    x_label, unit
        Label of the horizontal axis, and unit of the vertical one.

    Returns
    -------
    str
        A ``<figure>``; empty without points.
    """
    points = [point for line in lines.values() for point in line]
    if not points:
        return ''
    spread = [end for point in points for end in _ends(point)]
    across = _Axis(min(point.x for point in points), max(point.x for point in points), _LEFT + 8, _WIDTH - _RIGHT - 8,
                   tight=True)
    up = _Axis(min(spread), max(spread), _HEIGHT - _BOTTOM, _TOP)  # From bottom to top: y grows downwards in SVG.
    parts = [
        f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>'
        f'<text x="{_LEFT - 5}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:g}{unit}</text>' for tick in up.ticks
    ]
    # Epochs, severities and epsilons are named where there are points, not at round numbers.
    xs = sorted({point.x for point in points})
    parts += [f'<text x="{across(x):.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{x:g}</text>' for x in xs]
    parts.append(f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
    step = min(3.0, _SPREAD / max(1, len(lines) - 1))
    for place, (name, line) in enumerate(lines.items()):
        # Lines are moved sideways around their true position, as bars at one place would hide each other.
        kind, shift = line_kind(place), step * (place - (len(lines) - 1) / 2)
        path = ' '.join(f'{across(point.x) + shift:.1f},{up(point.mean):.1f}' for point in line)
        parts.append(f'<polyline class="path {kind}" points="{path}"/>')
        for point in line:
            x, (low, high) = across(point.x) + shift, _ends(point)
            if point.deviation is not None:
                # A whisker at each end of an upright line.
                parts.append(f'<path class="bar {kind}" d="M{x - 3:.1f} {up(low):.1f}h6m-3 0V{up(high):.1f}m-3 0h6"/>')
            parts.append(mark(x, up(point.mean), place, f'{name}, {x_label} {point.x:g}: {point.mean:.4g}{unit}'))
    keys = ''.join(f'<span class="key">{key(place)}{escape(name)}</span>'
                   for place, (name, line) in enumerate(lines.items()) if line)
    # For screen readers: the last point of each line.
    spoken = '; '.join(f'{name}: {line[-1].mean:.4g}{unit} at {line[-1].x:g}' for name, line in lines.items() if line)
    return _figure(title, _HEIGHT, parts, spoken, note, keys)


class _Axis:
    """A map from values to pixels, with ticks at round numbers.

    Parameters
    ----------
    low, high
        Smallest and largest value.
    start, end
        Pixels of the two ends of the axis.
    tight
        Whether the axis ends at the values instead of at ticks.
    """

    def __init__(self, low: float, high: float, start: float, end: float, *, tight: bool = False):
        # Values that differ in their sixth digit are one value: ticks have six digits, and could not tell them apart.
        high = low if math.isclose(low, high, rel_tol=1e-5, abs_tol=1e-12) else high
        # A twentieth to either side; around a single value a tenth of it, or 1 around 0. Values that are not negative
        # get no negative tick.
        margin = 0.0 if tight else (high - low) * 0.05 or abs(high) * 0.1 or 1.0
        ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(max(low - margin, min(low, 0.0)), high + margin)
        self.ticks = [float(f'{tick:.6g}') for tick in ticks]  # 0.30000000000000004 is 0.3.
        self.low, self.high = (low, high if high > low else low + 1) if tight else (self.ticks[0], self.ticks[-1])
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _ends(point: Point) -> tuple[float, float]:
    """Return both ends of a point's bar: its mean minus and plus one deviation; the mean itself with one seed."""
    half = point.deviation or 0.0
    return point.mean - half, point.mean + half


def _figure(title: str, height: float, parts: Sequence[str], spoken: str, note: str, keys: str = '') -> str:
    """Write a figure: heading, SVG with a text for screen readers, and a caption of keys and remark."""
    caption = f'<figcaption>{keys}{escape(note)}</figcaption>' if keys or note else ''
    return (f'<figure><h3>{escape(title)}</h3>\n<svg class="curve" viewBox="0 0 {_WIDTH} {height}" role="img" '
            f'aria-label="{escape(title)}, {escape(spoken)}">{"".join(parts)}</svg>\n{caption}</figure>')


def _name(name: str, y: float) -> str:
    """Write a method's name before its row, on two lines where it is long, whole when a pointer is over it."""
    lines = [name] if len(name) <= _LETTERS else _halves(name)
    spans = ''.join(f'<tspan x="4" y="{y + 4 + 12 * (number - (len(lines) - 1) / 2):g}">{escape(line)}</tspan>'
                    for number, line in enumerate(lines))
    return f'<text class="name">{spans}<title>{escape(name)}</title></text>'


def _halves(name: str) -> list[str]:
    """Break a name into two lines, after a space or sign where there is one; a very long name loses its middle."""
    if len(name) > 2 * _LETTERS:
        # 18 letters, an ellipsis and 17 letters: both ends of a name tell more than its middle.
        name = f'{name[:_LETTERS]}…{name[1 - _LETTERS:]}'
    first = max(1, len(name) - _LETTERS)  # What follows must fit.
    breaks = [place for place in range(first, _LETTERS + 1) if name[place - 1] in ' -_(/,' or name[place] == '(']
    place = breaks[-1] if breaks else _LETTERS
    return [name[:place], name[place:]]
