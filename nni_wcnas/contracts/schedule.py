"""The axis schedule: which supernets are trained, for how long, and what may be done to one in between."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nni_wcnas.contracts.cell import CellGenotype, CellLayout, CellScores
from nni_wcnas.contracts.moment import Moment

__all__ = ['Stage', 'Supernet', 'Schedule']


@dataclass(frozen=True)
class Stage:
    """One supernet to train, or one that goes on under other rules."""

    epochs: int | None
    """Length of the stage; None takes the evaluator's ``max_epochs``."""
    warmup: int = 0
    """Epochs at the start that train neither A nor B, nor an adversary that :attr:`Objective.rests_in_warmup`."""
    num_cells: int | None = None
    """Depth of the supernet; None leaves it as it is."""
    share: int | None = None
    """The :attr:`Transform.share` of this stage; None leaves it as it is. Operations are widened, keeping their
    weights."""
    is_fresh: bool = False
    """Whether weights, architecture and their optimisers start anew; else they go on."""
    learning_rate_factor: float = 1.0
    """Factor of the weights' learning rate; where it is not 1, the annealing starts anew with the stage."""


class Supernet(ABC):
    """What a schedule sees of the supernet, and may do to it, between two epochs."""

    memory: dict[str, Any]
    """Plain values that the schedule keeps from epoch to epoch; saved in checkpoints."""

    @abstractmethod
    def scores(self) -> dict[str, CellScores]:
        """Return what a selection sees, by label of the cell."""

    @abstractmethod
    def select(self, label: str) -> CellGenotype:
        """Return what the selection would choose now for one cell."""

    @abstractmethod
    def export(self) -> dict[str, Any]:
        """Return what the search would return now: NNI's sample."""

    @abstractmethod
    def prune(self, label: str, candidates: Iterable[tuple[int, int]]) -> None:
        """Take candidates out for good: pairs of a row (edge) and a column (operation) of the architecture matrix."""

    @abstractmethod
    def drop(self, label: str, edges: Iterable[int]) -> None:
        """Take whole edges out for good."""

    @abstractmethod
    def validate(self, label: str, without: Iterable[tuple[int, int]]) -> tuple[float, float]:
        """Return mean loss and accuracy on the architecture's half while candidates of one cell have no weight.

        The weights of the others stay as they are. Passes are normalised by the statistics of their batch, and move
        none.
        """

    @abstractmethod
    def largest_eigenvalue(self) -> float:
        """Return the largest eigenvalue of the Hessian of the validation loss by A, on the last validation batch."""

    @abstractmethod
    def draw(self, count: int) -> int:
        """Return a random number below ``count``, from the search's random state."""


class Schedule(ABC):
    """Which supernets are trained, for how long."""

    needs_cells: bool = False
    """Whether it acts on cells, which not every space has."""
    needs_second_derivatives: bool = False
    """Whether it asks for Hessians."""
    judges_candidates: bool = False
    """Whether it compares candidates by what the supernet loses without them (:meth:`Supernet.validate`)."""

    @abstractmethod
    def stages(self, cells: Sequence[CellLayout]) -> Sequence[Stage]:
        """Return the stages in order, for a space of these types of cells.

        An empty sequence stands for a space that is not known yet: of its answer, only lengths may differ from the real
        one.
        """

    def pruned(self, stage: int, scores: CellScores) -> set[tuple[int, int]]:
        """Return candidates (row, column) of one cell to take out before a stage.

        Parameters
        ----------
        stage
            The stage that begins, from 1.
        scores
            The cell at the end of the stage before.
        """
        del stage, scores  # Unused: all stay.
        return set()

    def begin_epoch(self, supernet: Supernet, moment: Moment) -> None:
        """Act before an epoch, as by pruning; by default nothing happens."""
        del supernet, moment  # Unused: nothing happens.

    def end_epoch(self, supernet: Supernet, moment: Moment) -> dict[str, Any] | None:
        """Act after an epoch; a sample (:meth:`Supernet.export`) ends the search, which returns it."""
        del supernet, moment  # Unused: the search goes on.
        return None
