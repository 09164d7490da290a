"""A schedule with other lengths, however many rules are wrapped around it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nni_wcnas.contracts import Schedule

__all__ = ['with_lengths']


def with_lengths(schedule: Schedule, epochs: int | None, warmup: int) -> Schedule:
    """Return the same schedule with a search of so many epochs and a warm-up.

    Parameters
    ----------
    schedule
        A schedule, or a stop rule around one.
    epochs
        Epochs of the search, or of each stage where all are as long; None takes the evaluator's ``max_epochs``.
    warmup
        Epochs at the start of a stage that leave the architecture alone.

    Examples
    --------
    >>> from nni_wcnas import SingleStage, SkipCount
    >>> with_lengths(SkipCount(limit=3), 25, 10)
    SkipCount(inner=SingleStage(epochs=25, warmup=10), limit=3)
    """
    member: Any = schedule
    # Schedules are frozen: each rule is rebuilt around its changed inner schedule.
    if hasattr(member, 'inner'):
        return replace(member, inner=with_lengths(member.inner, epochs, warmup))
    return replace(member, epochs=epochs, warmup=warmup)
