"""What all stop rules have in common: they wrap a schedule, and end it early."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from nni_wcnas.contracts import CellLayout, CellScores, Moment, Schedule, Stage, Supernet

__all__ = ['StopRule']


class StopRule(Schedule):
    """A schedule that goes as its ``inner`` one until :meth:`sample` says what to return."""

    inner: Schedule

    @property
    def needs_cells(self) -> bool:  # type: ignore[override]
        """The inner schedule's."""
        return self.inner.needs_cells

    @property
    def needs_second_derivatives(self) -> bool:  # type: ignore[override]
        """The inner schedule's."""
        return self.inner.needs_second_derivatives

    @property
    def judges_candidates(self) -> bool:  # type: ignore[override]
        """The inner schedule's."""
        return self.inner.judges_candidates

    def stages(self, cells: Sequence[CellLayout]) -> Sequence[Stage]:
        """The inner schedule's."""
        return self.inner.stages(cells)

    def pruned(self, stage: int, scores: CellScores) -> set[tuple[int, int]]:
        """What the inner schedule prunes."""
        return self.inner.pruned(stage, scores)

    def begin_epoch(self, supernet: Supernet, moment: Moment) -> None:
        """As the inner schedule."""
        self.inner.begin_epoch(supernet, moment)

    def end_epoch(self, supernet: Supernet, moment: Moment) -> dict[str, Any] | None:
        """As the inner schedule; then the rule, once the architecture has begun to learn."""
        ended = self.inner.end_epoch(supernet, moment)
        if ended is not None or moment.epoch < moment.warmup:
            return ended
        return self.sample(supernet, moment)

    @abstractmethod
    def sample(self, supernet: Supernet, moment: Moment) -> dict[str, Any] | None:
        """What the search returns if it ends here; None lets it go on."""
