"""What a search is composed of: a member of each axis, and the edge transforms."""

from __future__ import annotations

import math
from typing import NamedTuple

from nni_wcnas.contracts import Hypergradient, Objective, Schedule, Selection, Smoothing, Transform, Weighting

__all__ = ['Members']


class Members(NamedTuple):
    """The members of one search."""

    relaxation: Weighting
    objective: Objective
    hypergradient: Hypergradient
    smoothing: Smoothing
    selection: Selection
    schedule: Schedule
    transforms: tuple[Transform, ...] = ()

    @property
    def share(self) -> int:
        """Into how many equal parts the transforms split the channels: shares of several multiply."""
        return math.prod(transform.share for transform in self.transforms)
