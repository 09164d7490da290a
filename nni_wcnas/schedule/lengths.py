"""Other lengths for a schedule, however many rules are wrapped around it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nni_wcnas.contracts import Schedule

__all__ = ['with_lengths']


def with_lengths(schedule: Schedule, epochs: int | None, warmup: int) -> Schedule:
    """The same schedule with a search of ``epochs`` epochs (of each stage, where all are as long) and a warm-up.

    Examples
    --------
    >>> from nni_wcnas import SingleStage, SkipCount
    >>> with_lengths(SkipCount(limit=3), 25, 10)
    SkipCount(inner=SingleStage(epochs=25, warmup=10), limit=3)
    """
    member: Any = schedule
    if hasattr(member, 'inner'):
        return replace(member, inner=with_lengths(member.inner, epochs, warmup))
    return replace(member, epochs=epochs, warmup=warmup)
