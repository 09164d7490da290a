"""Charts as inline SVG: rows of dots with error bars, and lines; the page's style colours them for screen and paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from nni_wcnas.page import mark
from nni_wcnas.page.template import render

__all__ = ['Point', 'charts', 'dots', 'lines']

# Pixels of the SVG's own coordinates; the page scales it. The margins hold the numbers of the axes.
_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 40
_ROW, _NAMES = 30, 74
"""Height of a row of dots, and the room that names have beside the left margin."""
_LETTERS = 18
"""Letters of a name that fit on one line before its row."""
_SPREAD = 16
"""Pixels over which the lines of a chart are spread at most, so that their bars lie side by side."""
_MAX_NAMED, _MAX_MARKS = 8, 40
"""Positions up to which each is named below the axis, and points of a line up to which each has a mark."""


@dataclass(frozen=True)
class Point:
    """A mean over the seeds at a position ``x``, with its deviation (None with one seed) and the averaged values."""

    x: float
    mean: float
    deviation: float | None = None
    values: tuple[float, ...] = ()


class _Label(NamedTuple):
    """A text of an axis and where it stands; ``anchor`` is that of SVG."""

    x: float
    y: float
    anchor: str
    text: str


@dataclass(frozen=True)
class _Series:
    """What is drawn of one method: SVG paths of line and bars, places of seeds, and marks with size and title."""

    name: str
    kind: str
    shape: str
    path: str = ''
    bars: list[str] = field(default_factory=list)
    seeds: list[tuple[float, float]] = field(default_factory=list)
    marks: list[tuple[float, float, float, str]] = field(default_factory=list)
    name_lines: list[tuple[float, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Chart:
    """All parts of a chart, in pixels; each rule is ``(x1, x2, y1, y2)``."""

    title: str
    height: float
    spoken: str
    note: str
    rules: Sequence[tuple[float, float, float, float]]
    labels: list[_Label]
    series: list[_Series]
    has_key: bool
    width: int = _WIDTH


def dots(title: str, rows: Sequence[tuple[str, Point]], *, unit: str, note: str = '') -> Markup:
    """Draw one row for each method: dots for the seeds, a mark for the mean, a bar of one deviation to either side.

    Parameters
    ----------
    title, note
        Texts above and below the chart.
    rows
        Name of each method and its point, in the reader's unit; ``x`` is not used.
    unit
        Unit of the values; an axis of ``%`` ends at 0 and at 100.

    Returns
    -------
    Markup
        A ``<figure>``; empty without rows.
    """
    if not rows:
        return Markup('')
    axis = _value_axis([point for _, point in rows], _LEFT + _NAMES, _WIDTH - _RIGHT, unit)
    bottom = _TOP + _ROW * len(rows)
    rules = [(axis(tick), axis(tick), _TOP, bottom) for tick in axis.ticks]
    labels = [_Label(axis(tick), bottom + 15, 'middle', f'{tick:g}') for tick in axis.ticks]
    labels.append(_Label(_WIDTH - _RIGHT, bottom + _BOTTOM - 8, 'end', unit))
    series = [_row(axis, place, name, point, unit) for place, (name, point) in enumerate(rows)]
    spoken = '; '.join(f'{name}: {point.mean:.4g} {unit}' for name, point in rows)
    return render('chart', chart=_Chart(title, bottom + _BOTTOM, spoken, note, rules, labels, series, has_key=False))


def lines(title: str, series: Mapping[str, Sequence[Point]], *, x_label: str, unit: str = '', note: str = '',
          has_key: bool = True) -> Markup:
    """Draw one line for each method, with a bar of one standard deviation to either side of each point.

    Parameters
    ----------
    title, note
        Texts above and below the chart.
    series
        Points of each method, in the reader's unit; a method without any keeps its colour and is left out.
    x_label, unit
        Label of the horizontal axis, and unit of the vertical one; an axis of ``%`` ends at 0 and at 100.
    has_key
        Whether the names of the lines stand below.

    Returns
    -------
    Markup
        A ``<figure>``; empty without points.
    """
    points = [point for line in series.values() for point in line]
    if not points:
        return Markup('')
    xs = sorted({point.x for point in points})
    across = _Axis(xs[0], xs[-1], _LEFT + 8, _WIDTH - _RIGHT - 8, is_tight=True)
    up = _value_axis(points, _HEIGHT - _BOTTOM, _TOP, unit)  # From bottom to top: y grows downwards in SVG.
    rules = [(_LEFT, _WIDTH - _RIGHT, up(tick), up(tick)) for tick in up.ticks]
    labels = [_Label(_LEFT - 5, round(up(tick) + 4, 1), 'end', f'{tick:g}{unit}') for tick in up.ticks]
    # Few epochs, severities and epsilons are named where there are points, many at round numbers.
    named = xs if len(xs) <= _MAX_NAMED else [tick for tick in across.ticks if xs[0] <= tick <= xs[-1]]
    labels += [_Label(across(x), _HEIGHT - _BOTTOM + 15, 'middle', f'{x:g}') for x in named]
    labels.append(_Label((_LEFT + _WIDTH) / 2, _HEIGHT - 6, 'middle', x_label))
    # Lines with bars are moved sideways around their true position, as bars at one place would hide each other.
    has_bars = any(point.deviation is not None for point in points)
    step = min(3.0, _SPREAD / max(1, len(series) - 1)) if has_bars else 0.0
    middle = (len(series) - 1) / 2
    drawn = [_line(across, up, place, name, line, shift=step * (place - middle), words=(x_label, unit))
             for place, (name, line) in enumerate(series.items()) if line]
    # For screen readers: the last point of each line.
    spoken = '; '.join(f'{name}: {line[-1].mean:.4g}{unit} at {line[-1].x:g}' for name, line in series.items() if line)
    return render('chart', chart=_Chart(title, _HEIGHT, spoken, note, rules, labels, drawn, has_key))


def charts(figures: Sequence[Markup]) -> Markup:
    """Put charts side by side; empty ones are left out, and without any the result is empty."""
    drawn = [figure for figure in figures if figure]
    return render('charts', figures=drawn) if drawn else Markup('')


class _Axis:
    """A map from values to pixels, with ticks at round numbers.

    Parameters
    ----------
    low, high
        Smallest and largest value.
    start, end
        Pixels of the two ends of the axis.
    is_tight
        Whether the axis ends at the values instead of at ticks.
    limits
        Values beyond which there is no tick; each is 0, 100 or infinite, so that a tick falls on it.
    """

    def __init__(self, low: float, high: float, start: float, end: float, *, is_tight: bool = False,
                 limits: tuple[float, float] = (-math.inf, math.inf)):
        # Values that differ in their sixth digit are one value: ticks have six digits, and could not tell them apart.
        high = low if math.isclose(low, high, rel_tol=1e-5, abs_tol=1e-12) else high
        # A twentieth to either side; around a single value a tenth of it, or 1 around 0.
        margin = 0.0 if is_tight else (high - low) * 0.05 or abs(high) * 0.1 or 1.0
        ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=is_tight).tick_values(
            max(low - margin, limits[0]), min(high + margin, limits[1]))
        self.ticks = [float(f'{tick:.6g}') for tick in ticks]  # 0.30000000000000004 is 0.3.
        self.low, self.high = (low, high if high > low else low + 1) if is_tight else (self.ticks[0], self.ticks[-1])
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; what lies beyond the axis, as the end of a bar may, is at its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def _value_axis(points: Sequence[Point], start: float, end: float, unit: str) -> _Axis:
    """Make the axis of the values: of percentages within 0 and 100, and not negative where no value is."""
    values = [value for point in points for value in (point.mean, *point.values)]
    ends = [end for point in points for end in _ends(point)]
    # A deviation may reach below 0 or above 100 %, where no error can be: there the axis ends, and the bar with it.
    low = 0.0 if min(values) >= 0 else -math.inf
    high = 100.0 if unit == '%' and max(values) <= 100 else math.inf
    return _Axis(max(min(values + ends), low), min(max(values + ends), high), start, end, limits=(low, high))


def _row(axis: _Axis, place: int, name: str, point: Point, unit: str) -> _Series:
    """Lay out one row of dots."""
    y = _TOP + _ROW * place + _ROW // 2
    low, high = map(axis, _ends(point))
    # A whisker at each end of a level line.
    bars = [] if point.deviation is None else [f'M{low} {y - 5}v10m0 -5H{high}m0 -5v10']
    parts = [name] if len(name) <= _LETTERS else _halves(name)
    heads = [(y + 4 + 12 * (number - (len(parts) - 1) / 2), part) for number, part in enumerate(parts)]
    return _Series(name, mark.kind(place), mark.shape(place), bars=bars, name_lines=heads,
                   seeds=[(axis(value), y) for value in point.values],
                   marks=[(axis(point.mean), y, 1, f'{name}: {point.mean:.4g} {unit}')])


def _line(across: _Axis, up: _Axis, place: int, name: str, line: Sequence[Point], *, shift: float,
          words: tuple[str, str]) -> _Series:
    """Lay out one line; ``words`` are the label of the horizontal axis and the unit of the vertical one."""
    places = [(round(across(point.x) + shift, 1), up(point.mean)) for point in line]
    # A whisker at each end of an upright line.
    bars = [f'M{round(x - 3, 1)} {up(low)}h6m-3 0V{up(high)}m-3 0h6' for point, (x, _) in zip(line, places, strict=True)
            for low, high in [_ends(point)] if point.deviation is not None]
    # Marks of a long line would lie on another, so they are smaller; of a very long one only the last stands.
    size = 1 if len(line) <= _MAX_NAMED else 0.6
    marks = [(x, y, size, f'{name}, {words[0]} {point.x:g}: {point.mean:.4g}{words[1]}')
             for point, (x, y) in zip(line, places, strict=True)]
    return _Series(name, mark.kind(place), mark.shape(place), ' '.join(f'{x},{y}' for x, y in places), bars,
                   marks=marks if len(line) <= _MAX_MARKS else marks[-1:])


def _ends(point: Point) -> tuple[float, float]:
    """Return both ends of a point's bar: its mean minus and plus one deviation; the mean itself with one seed."""
    half = point.deviation or 0.0
    return point.mean - half, point.mean + half


def _halves(name: str) -> list[str]:
    """Break a name into two lines, after a space or sign where there is one; a very long name loses its middle."""
    if len(name) > 2 * _LETTERS:
        # 18 letters, an ellipsis and 17 letters: both ends of a name tell more than its middle.
        name = f'{name[:_LETTERS]}…{name[1 - _LETTERS:]}'
    first = max(1, len(name) - _LETTERS)  # What follows must fit.
    breaks = [place for place in range(first, _LETTERS + 1) if name[place - 1] in ' -_(/,' or name[place] == '(']
    place = breaks[-1] if breaks else _LETTERS
    return [name[:place], name[place:]]
