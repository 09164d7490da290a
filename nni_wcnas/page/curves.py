"""Small line charts as inline SVG; the page's style gives them their colours, so they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from nni_wcnas.page.html import escape

__all__ = ['Chart', 'draw_chart']

# Pixels of the SVG's own coordinates, and the margins around the curves; the page scales the whole.
_WIDTH, _HEIGHT = 340, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 12, 26
_MAX_MARKS = 40
"""Points of a curve up to which each one gets a mark; of a longer curve only the last does."""

Points = list[tuple[float, float]]
"""Epoch and value of each point of a curve."""


@dataclass(frozen=True)
class Chart:
    """What one chart shows: columns of ``metrics.csv`` over the epochs.

    Parameters
    ----------
    title
        Heading of the chart.
    columns
        Label of each column, by column name; one or two.
    note
        Remark on how to read it.
    percent
        Whether the values are shares, to be shown in per cent.
    """

    title: str
    columns: Mapping[str, str]
    note: str = ''
    percent: bool = False


def draw_chart(chart: Chart, rows: Sequence[Mapping[str, float]]) -> str | None:
    """Draw a chart.

    Parameters
    ----------
    chart
        What to draw; columns that the rows lack are left out.
    rows
        One an epoch, with its number under ``epoch``; values that are not finite are left out.

    Returns
    -------
    str or None
        A ``<figure>``, or None if there is nothing to draw.
    """
    factor = 100 if chart.percent else 1
    curves = {label: _points(rows, column, factor) for column, label in chart.columns.items()}
    curves = {label: points for label, points in curves.items() if points}
    if not curves:
        return None
    every = [point for points in curves.values() for point in points]
    scale = _Scale([x for x, _ in every], [y for _, y in every], chart.percent)
    parts = [scale.grid('%' if chart.percent else '')]
    parts += [_curve(scale, points, place) for place, points in enumerate(curves.values())]
    # A single curve needs no key: the heading names it.
    keys = [f'<span class="k{place}">{escape(label)}</span>' for place, label in enumerate(curves) if len(curves) > 1]
    summary = '; '.join(f'{label}: {_number(points[-1][1])} at the end' for label, points in curves.items())
    return (f'<figure><h3>{escape(chart.title)}</h3>\n<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
            f'aria-label="{escape(chart.title)}, {escape(summary)}">{"".join(parts)}</svg>\n'
            f'<figcaption>{"".join(keys)}{escape(chart.note)}</figcaption></figure>')


class _Scale:
    """A map from epochs and values to pixels, with ticks at round numbers.

    Parameters
    ----------
    xs, ys
        Epochs and values of all points; ``ys`` in the unit that is shown.
    is_share
        Whether the values are percentages, above whose 100 the axis shall not go.
    """

    def __init__(self, xs: Sequence[float], ys: Sequence[float], is_share: bool):
        # The locator's outer ticks may lie beyond the epochs, where there is nothing.
        self.x_ticks = [tick for tick in MaxNLocator(5, integer=True).tick_values(min(xs), max(xs))
                        if min(xs) <= tick <= max(xs)]
        # Room above and below; around a single value a tenth of it, or 1 around 0.
        margin = (max(ys) - min(ys)) * 0.04 or abs(max(ys)) * 0.1 or 1.0
        # Values that are not negative get no negative tick.
        low = min(ys) - margin if min(ys) < 0 else max(min(ys) - margin, 0.0)
        high = min(max(ys) + margin, 100.0) if is_share else max(ys) + margin
        self.y_ticks = list(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high))
        self.x_range = min(xs), max(max(xs), min(xs) + 1)  # A single epoch needs a width, too.
        self.y_range = self.y_ticks[0], self.y_ticks[-1]

    def x(self, value: float) -> float:
        """Return the pixels from the left of an epoch."""
        low, high = self.x_range
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Return the pixels from the top of a value; y grows downwards in SVG."""
        low, high = self.y_range
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    def grid(self, unit: str) -> str:
        """Draw the horizontal rules with their numbers, and the numbers of the epochs."""
        step = self.y_ticks[1] - self.y_ticks[0]
        lines = []
        for tick in self.y_ticks:
            y = self.y(tick)
            lines.append(f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                         f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{_number(tick, step)}{unit}</text>')
        for tick in self.x_ticks:
            lines.append(f'<text x="{self.x(tick):.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">'
                         f'{tick:.0f}</text>')
        return ''.join(lines)


def _points(rows: Sequence[Mapping[str, float]], column: str, factor: float) -> Points:
    """Return the finite values of a column, times a factor, with their epochs."""
    return [(row.get('epoch', place), row[column] * factor) for place, row in enumerate(rows)
            if column in row and math.isfinite(row[column])]


def _curve(scale: _Scale, points: Points, place: int) -> str:
    """Draw a curve as a line with marks that name their values: at all points where they are few, else at the last."""
    line = ' '.join(f'{scale.x(x):.1f},{scale.y(y):.1f}' for x, y in points)
    marks = points if len(points) <= _MAX_MARKS else points[-1:]
    circles = ''.join(f'<circle class="s{place}" cx="{scale.x(x):.1f}" cy="{scale.y(y):.1f}" r="2.4">'
                      f'<title>epoch {x:.0f}: {_number(y)}</title></circle>' for x, y in marks)
    return f'<polyline class="path s{place}" points="{line}"/>{circles}'


def _number(value: float, step: float | None = None) -> str:
    """Write a number, with as many decimals as the step between ticks needs; without a step, with four digits."""
    if step is None:
        return f'{value:.4g}'
    if abs(value) >= 1e5 or (step < 1e-4 and abs(value) < 1e-2):
        return f'{value:.1e}'  # Such numbers would not fit beside the axis.
    # Decimals = -floor(log10(step)): 1 for steps of 0.2. The small term keeps 0.1 from becoming 0.0999...
    return f'{value:.{min(5, max(0, -math.floor(math.log10(step) + 1e-9)))}f}'
