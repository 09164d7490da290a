"""The time line of a search: which epoch belongs to which stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from nni_wcnas.contracts import Moment, Stage

__all__ = ['Annealing', 'Stages']


class Annealing(NamedTuple):
    """How the weights' learning rate falls."""

    epochs: int
    factor: float
    """Of the learning rate."""


class Stages:
    """Stages one after the other, all of known length.

    Parameters
    ----------
    stages
        A schedule's; one of them may have no length.
    max_epochs
        The evaluator's: the length of a stage that has none.

    Raises
    ------
    ValueError
        When there is no stage, or the warm-up of one leaves no epoch of it.
    """

    def __init__(self, stages: Sequence[Stage], max_epochs: int) -> None:
        if not stages:
            raise ValueError('a schedule needs at least one stage')
        self.stages = [replace(stage, epochs=max_epochs if stage.epochs is None else stage.epochs) for stage in stages]
        self.lengths = [int(stage.epochs or 0) for stage in self.stages]
        self.starts = [0, *accumulate(self.lengths)][:-1]
        for stage, length in zip(self.stages, self.lengths):
            if 0 < length <= stage.warmup:
                raise ValueError(
                    f'warmup={stage.warmup} leaves none of the {length} epochs to search in; lower warmup or raise '
                    'max_epochs'
                )

    @property
    def epochs(self) -> int:
        """Of all stages."""
        return sum(self.lengths)

    def index(self, epoch: int) -> int:
        """The stage of an epoch; the last one, where the search is longer than its stages."""
        return max(index for index, start in enumerate(self.starts) if start <= epoch)

    def starts_at(self, epoch: int) -> int | None:
        """The stage, other than the first, that begins with this epoch."""
        return self.starts.index(epoch) if epoch in self.starts[1:] else None

    def warmup_end(self, epoch: int) -> int:
        """The epoch, counted from the start of the search, with which the stage's warm-up is over."""
        index = self.index(epoch)
        return self.starts[index] + self.stages[index].warmup

    def moment(self, epoch: int, seed: int) -> Moment:
        """An epoch of the search as a moment of its stage."""
        index = self.index(epoch)
        local = epoch - self.starts[index]
        return Moment(local, self.lengths[index], self.stages[index].warmup, index, seed, self._run(index, local))

    def _run(self, index: int, local: int) -> tuple[int, int]:
        """Epochs since the weights began, and for how many they are searched with.

        Stages that go on with them are one run. A stage whose learning rate starts again without fresh weights comes
        after the search: time stands still at its end.
        """
        first = max(i for i in range(index + 1) if i == 0 or self.stages[i].is_fresh)
        after = next((i for i in range(first + 1, len(self.stages)) if self.anneals_anew(i)), len(self.stages))
        span = sum(self.lengths[first:after])
        return min(sum(self.lengths[first:index]) + local, span - 1), span

    def num_cells(self, index: int) -> int | None:
        """Depth in a stage: its own, or that of the last stage before that has one."""
        return next((stage.num_cells for stage in self.stages[index::-1] if stage.num_cells is not None), None)

    def share(self, index: int) -> int | None:
        """:attr:`~nni_wcnas.contracts.Transform.share` in a stage, likewise."""
        return next((stage.share for stage in self.stages[index::-1] if stage.share is not None), None)

    def is_rebuilt(self, index: int) -> bool:
        """Whether a stage begins with another supernet."""
        if index == 0:
            return False
        shape, before = ((self.num_cells(i), self.share(i)) for i in (index, index - 1))
        return self.stages[index].is_fresh or shape != before

    def anneals_anew(self, index: int) -> bool:
        """Whether the weights' learning rate starts again with a stage."""
        return index == 0 or self.stages[index].is_fresh or self.stages[index].learning_rate_factor != 1.0

    def annealing(self, index: int) -> Annealing:
        """How the weights' learning rate falls in a stage, and in those that go on with it."""
        first = max(i for i in range(index + 1) if self.anneals_anew(i))
        later = next((i for i in range(first + 1, len(self.stages)) if self.anneals_anew(i)), len(self.stages))
        return Annealing(sum(self.lengths[first:later]), self.stages[first].learning_rate_factor)
