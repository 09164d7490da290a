"""SkipCount: stop when the normal cell has too many skip connections, the rule of DARTS+.

A search that collapses fills its normal cell with skip connections. After each epoch the cell is read off as it would
be at the end; with ``limit`` or more skips in it the search ends there, and returns it. Costs nothing.

    SkipCount(limit=2)                              DARTS+
    SkipCount(Progressive(...), limit=4)            any other schedule

No rule holds during a warm-up, where the architecture is random. Deviation: the paper's second criterion (a ranking
that stands still for ten epochs) is not here.

References
----------
Liang et al., "DARTS+: Improved Differentiable Architecture Search with Early Stopping", 2019, criterion 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nni_wcnas.contracts import Moment, Schedule, Supernet
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.schedule.single_stage import SingleStage
from nni_wcnas.schedule.stopping import StopRule

__all__ = ['SkipCount']


@dataclass(frozen=True)
class SkipCount(StopRule):
    """End a schedule at the first cell with too many skips.

    Parameters
    ----------
    inner
        The schedule to end early.
    limit
        Number of skip connections in a normal cell at which to stop.

    Raises
    ------
    ValueError
        When the limit is below 1.
    """

    inner: Schedule = SingleStage()
    limit: int = 2
    needs_cells = True

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise InvalidArgument('limit', self.limit, 'be at least 1 skip connection')

    def sample(self, supernet: Supernet, moment: Moment) -> dict[str, Any] | None:
        """Return the cells of this epoch, if a normal one has too many skips; None lets the search go on."""
        del moment  # Unused: the rule is the same at any time.
        for label, scores in supernet.scores().items():
            # The cell that would be returned now, by the search's own selection:
            # strengths alone do not say what is kept.
            chosen = [choice.operation for node in supernet.select(label) for choice in node]
            if not scores.layout.is_reduction and chosen.count('skip_connect') >= self.limit:
                return supernet.export()
        return None
