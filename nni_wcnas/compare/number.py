"""Numbers as the tables of a comparison write them: mean and standard deviation over the seeds, or a dash."""

from __future__ import annotations

from nni_wcnas.compare.method import Method
from nni_wcnas.files.record import unit
from nni_wcnas.page.template import Cell

__all__ = ['DASH', 'cell', 'formatted', 'scale_of']

DASH = Cell('–', kind='missing')
"""Cell of a value that was not measured."""


def scale_of(measure: str) -> tuple[float, str]:
    """Return the factor that a measure is multiplied with for the reader, and the unit that it has then."""
    return {'share': (100.0, '%'), 'weights': (1e-6, 'M'), 'multiply-accumulates': (1e-6, 'M'), 's': (1.0, 's')}.get(
        unit(measure), (1.0, '')
    )


def formatted(value: float, measure: str) -> str:
    """Write a value of a measure in the reader's unit, which the head of its column names."""
    scaled = value * scale_of(measure)[0]
    if unit(measure) == 'share':
        return f'{scaled:.2f}'
    return f'{scaled:.3f}' if abs(scaled) < 10 else f'{scaled:,.1f}'


def cell(method: Method, measure: str, best: float | None = None) -> Cell:
    """Write a method's mean and deviation over the seeds; the mean is bold where it equals ``best``."""
    mean, deviation = method.mean(measure), method.deviation(measure)
    if mean is None:
        return DASH
    detail = '' if deviation is None else f'± {formatted(deviation, measure)}'
    return Cell(formatted(mean, measure), detail, 'strong' if mean == best else 'plain')
