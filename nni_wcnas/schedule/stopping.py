"""The base of all stop rules: they wrap a schedule, and end it early."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from nni_wcnas.contracts import CellLayout, CellScores, Moment, Schedule, Stage, Supernet

__all__ = ['StopRule']


class StopRule(Schedule):
    """A schedule that follows its ``inner`` one until :meth:`sample` says what to return."""

    inner: Schedule
    """The schedule that is ended early; it may be a stop rule itself."""

    @property
    def needs_cells(self) -> bool:  # type: ignore[override]
        """Whether the inner schedule acts on cells."""
        return self.inner.needs_cells

    @property
    def needs_second_derivatives(self) -> bool:  # type: ignore[override]
        """Whether the inner schedule asks for Hessians."""
        return self.inner.needs_second_derivatives

    @property
    def judges_candidates(self) -> bool:  # type: ignore[override]
        """Whether the inner schedule compares candidates by what the supernet loses without them."""
        return self.inner.judges_candidates

    def stages(self, cells: Sequence[CellLayout]) -> Sequence[Stage]:
        """Return the inner schedule's stages."""
        return self.inner.stages(cells)

    def pruned(self, stage: int, scores: CellScores) -> set[tuple[int, int]]:
        """Return the candidates that the inner schedule prunes before a stage."""
        return self.inner.pruned(stage, scores)

    def begin_epoch(self, supernet: Supernet, moment: Moment) -> None:
        """Do what the inner schedule does before an epoch."""
        self.inner.begin_epoch(supernet, moment)

    def end_epoch(self, supernet: Supernet, moment: Moment) -> dict[str, Any] | None:
        """Do what the inner schedule does after an epoch; then ask the rule, once the architecture has begun to
        learn."""
        # The inner schedule first: an inner rule that ends the search has the earlier word.
        ended = self.inner.end_epoch(supernet, moment)
        if ended is not None or moment.epoch < moment.warmup:
            return ended
        return self.sample(supernet, moment)

    @abstractmethod
    def sample(self, supernet: Supernet, moment: Moment) -> dict[str, Any] | None:
        """Return what the search returns if it ends here; None lets it go on."""
