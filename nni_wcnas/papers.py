"""Which papers a search stands on, so that whoever publishes its results can cite them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nni_wcnas.options import OPTIONS
from nni_wcnas.strategy import Search

__all__ = ['citation']


def citation(strategy: Search) -> tuple[str, ...]:
    """The papers of the members of a search, each once, in the order of the axes.

    Parameters
    ----------
    strategy
        Any search; members that hold another member, as ``SkipCount``, bring the papers of both.

    Examples
    --------
    >>> from nni_wcnas import presets
    >>> citation(presets.pc_darts())
    ('Liu et al., DARTS, ICLR 2019', 'Xu et al., PC-DARTS, ICLR 2020')
    """
    members = (
        strategy.relaxation, strategy.objective, strategy.hypergradient, strategy.smoothing, strategy.selection,
        strategy.schedule, *strategy.transforms,
    )  # fmt: skip
    return tuple(dict.fromkeys(_PAPERS[type(part)] for member in members for part in _parts(member)))


_PAPERS = {row.factory: row.paper for row in OPTIONS}
"""Paper by the class of a member."""


def _parts(member: Any) -> Iterator[Any]:
    """Yield a member, and the members that it holds as ``inner``."""
    yield member
    inner = getattr(member, 'inner', None)
    if type(inner) in _PAPERS:
        yield from _parts(inner)
