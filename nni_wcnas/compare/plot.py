"""Plots with error bars over the seeds, as inline SVG; the page's style colours them for light, dark and paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from nni_wcnas.compare.mark import key, line_kind, mark
from nni_wcnas.page.html import escape

__all__ = ['Point', 'bars', 'curves']

_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 40
_LETTERS = 18
"""Of a name that fit before a row."""
_SPREAD = 16
"""Pixels that the lines of a plot are moved apart at most."""


@dataclass(frozen=True)
class Point:
    """A mean, and what was averaged."""

    x: float
    mean: float
    deviation: float | None
    values: tuple[float, ...] = ()


def bars(title: str, rows: Sequence[tuple[str, Point]], *, unit: str, note: str = '') -> str:
    """One row a method: a dot for each seed, a mark for the mean, a bar of a standard deviation to either side.

    Parameters
    ----------
    title, note
        Above and below.
    rows
        Method and point, whose ``x`` is not used; in the reader's unit.
    unit
        Of the values.
    """
    if not rows:
        return ''
    spread = [value for _, point in rows for value in (*point.values, *_ends(point))]
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
            parts.append(f'<path class="bar {kind}" d="M{axis(low):.1f} {y - 5}v10m0 -5H{axis(high):.1f}m0 -5v10"/>')
        parts += [f'<circle class="seed {kind}" cx="{axis(value):.1f}" cy="{y}" r="3"/>' for value in point.values]
        parts.append(mark(axis(point.mean), y, place, f'{name}: {point.mean:.4g} {unit}'))
    return _figure(title, height, parts, '; '.join(f'{name}: {point.mean:.4g} {unit}' for name, point in rows), note)


def curves(title: str, lines: Mapping[str, Sequence[Point]], *, x_label: str, unit: str, note: str = '') -> str:
    """One line a method, with a bar of a standard deviation to either side of each point.

    Parameters
    ----------
    title, note
        Above and below.
    lines
        Points by method, in the reader's unit; a method without any is left out.
    x_label, unit
        Of the axes.
    """
    points = [point for line in lines.values() for point in line]
    if not points:
        return ''
    spread = [end for point in points for end in _ends(point)]
    across = _Axis(min(point.x for point in points), max(point.x for point in points), _LEFT + 8, _WIDTH - _RIGHT - 8,
                   tight=True)
    up = _Axis(min(spread), max(spread), _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>'
        f'<text x="{_LEFT - 5}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:g}{unit}</text>' for tick in up.ticks
    ]
    xs = sorted({point.x for point in points})
    parts += [f'<text x="{across(x):.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{x:g}</text>' for x in xs]
    parts.append(f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
    step = min(3.0, _SPREAD / max(1, len(lines) - 1))
    for place, (name, line) in enumerate(lines.items()):
        kind, shift = line_kind(place), step * (place - (len(lines) - 1) / 2)  # Bars must not hide each other.
        path = ' '.join(f'{across(point.x) + shift:.1f},{up(point.mean):.1f}' for point in line)
        parts.append(f'<polyline class="path {kind}" points="{path}"/>')
        for point in line:
            x, (low, high) = across(point.x) + shift, _ends(point)
            if point.deviation is not None:
                parts.append(f'<path class="bar {kind}" d="M{x - 3:.1f} {up(low):.1f}h6m-3 0V{up(high):.1f}m-3 0h6"/>')
            parts.append(mark(x, up(point.mean), place, f'{name}, {x_label} {point.x:g}: {point.mean:.4g}{unit}'))
    keys = ''.join(f'<span class="key">{key(place)}{escape(name)}</span>'
                   for place, (name, line) in enumerate(lines.items()) if line)
    spoken = '; '.join(f'{name}: {line[-1].mean:.4g}{unit} at {line[-1].x:g}' for name, line in lines.items() if line)
    return _figure(title, _HEIGHT, parts, spoken, note, keys)


class _Axis:
    """From values to pixels, with round ticks."""

    def __init__(self, low: float, high: float, start: float, end: float, *, tight: bool = False):
        high = low if math.isclose(low, high, abs_tol=1e-12) else high  # Ticks cannot tell what rounding parts.
        margin = 0.0 if tight else (high - low) * 0.05 or abs(high) * 0.1 or 1.0
        ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(max(low - margin, min(low, 0.0)), high + margin)
        self.ticks = [float(f'{tick:.6g}') for tick in ticks]
        self.low, self.high = (low, high if high > low else low + 1) if tight else (self.ticks[0], self.ticks[-1])
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _ends(point: Point) -> tuple[float, float]:
    """Of the bar."""
    half = point.deviation or 0.0
    return point.mean - half, point.mean + half


def _figure(title: str, height: float, parts: Sequence[str], spoken: str, note: str, keys: str = '') -> str:
    caption = f'<figcaption>{keys}{escape(note)}</figcaption>' if keys or note else ''
    return (f'<figure><h3>{escape(title)}</h3>\n<svg class="curve" viewBox="0 0 {_WIDTH} {height}" role="img" '
            f'aria-label="{escape(title)}, {escape(spoken)}">{"".join(parts)}</svg>\n{caption}</figure>')


def _name(name: str, y: float) -> str:
    """A name before its row, on two lines where it is long."""
    lines = [name] if len(name) <= _LETTERS else _halves(name)
    spans = ''.join(f'<tspan x="4" y="{y + 4 + 12 * (number - (len(lines) - 1) / 2):g}">{escape(line)}</tspan>'
                    for number, line in enumerate(lines))
    return f'<text class="name">{spans}<title>{escape(name)}</title></text>'


def _halves(name: str) -> list[str]:
    """Two lines, broken after a mark between words where there is one; of a longer name the middle is cut."""
    if len(name) > 2 * _LETTERS:
        name = f'{name[:_LETTERS]}…{name[1 - _LETTERS:]}'
    first = max(1, len(name) - _LETTERS)  # What follows must fit.
    breaks = [place for place in range(first, _LETTERS + 1) if name[place - 1] in ' -_(/,' or name[place] == '(']
    place = breaks[-1] if breaks else _LETTERS
    return [name[:place], name[place:]]
