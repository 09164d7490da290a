"""The time line of a search: which epoch belongs to which stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from nni_wcnas.contracts import Moment, Stage
from nni_wcnas.errors import InvalidArgument

__all__ = ['Annealing', 'Stages']


class Annealing(NamedTuple):
    """How the weights' learning rate falls over the stages that go on with one another."""

    epochs: int
    factor: float
    """Factor of the learning rate that the cosine starts from."""


class Stages:
    """Stages one after the other, all of known length.

    Parameters
    ----------
    stages
        The stages of a schedule in order; ``epochs`` may be None.
    max_epochs
        Length of a stage whose ``epochs`` is None: the evaluator's ``max_epochs``.

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
                raise InvalidArgument(
                    'warmup', stage.warmup, 'lower warmup or raise max_epochs',
                    reason=f'leaves none of the {length} epochs to search in',
                )

    @property
    def epochs(self) -> int:
        """Number of epochs of all stages together."""
        return sum(self.lengths)

    def index(self, epoch: int) -> int:
        """Return the stage of an epoch; the last one, where the search is longer than its stages."""
        return max(index for index, start in enumerate(self.starts) if start <= epoch)

    def starts_at(self, epoch: int) -> int | None:
        """Return the stage that begins with this epoch, the first one excepted; None where none does."""
        # The first stage is what the search was built with: there is nothing to enter.
        return self.starts.index(epoch) if epoch in self.starts[1:] else None

    def warmup_end(self, epoch: int) -> int:
        """Return the epoch, counted from the start of the search, with which the stage's warm-up is over."""
        index = self.index(epoch)
        return self.starts[index] + self.stages[index].warmup

    def moment(self, epoch: int, seed: int) -> Moment:
        """Return an epoch of the search as a moment of its stage."""
        index = self.index(epoch)
        local = epoch - self.starts[index]
        return Moment(local, self.lengths[index], self.stages[index].warmup, index, seed, self._run(index, local))

    def _run(self, index: int, local: int) -> tuple[int, int]:
        """Return how many epochs ago the weights began, and for how many they are searched with.

        Stages that go on with them are one run. A stage whose learning rate starts again without fresh weights comes
        after the search: time stands still at its end.
        """
        # The last fresh stage up to this one, and the first stage after it that anneals anew: fresh weights begin
        # another run, and Projected's decisions begin after the run's end.
        first = max(i for i in range(index + 1) if i == 0 or self.stages[i].is_fresh)
        after = next((i for i in range(first + 1, len(self.stages)) if self.anneals_anew(i)), len(self.stages))
        span = sum(self.lengths[first:after])
        # Clamped to the last epoch of the span, so that temperatures and radii keep their final values.
        return min(sum(self.lengths[first:index]) + local, span - 1), span

    def num_cells(self, index: int) -> int | None:
        """Return the depth in a stage: its own, or that of the last stage before that has one."""
        return next((stage.num_cells for stage in self.stages[index::-1] if stage.num_cells is not None), None)

    def share(self, index: int) -> int | None:
        """Return :attr:`~nni_wcnas.contracts.Transform.share` in a stage: its own, or that of the last one before that
        has one."""
        return next((stage.share for stage in self.stages[index::-1] if stage.share is not None), None)

    def is_rebuilt(self, index: int) -> bool:
        """Whether a stage begins with another supernet."""
        if index == 0:
            return False
        # None in both is no change: the shape of the space is kept from the start.
        shape, before = ((self.num_cells(i), self.share(i)) for i in (index, index - 1))
        return self.stages[index].is_fresh or shape != before

    def anneals_anew(self, index: int) -> bool:
        """Whether the weights' learning rate starts again with a stage."""
        return index == 0 or self.stages[index].is_fresh or self.stages[index].learning_rate_factor != 1.0

    def annealing(self, index: int) -> Annealing:
        """Return how the weights' learning rate falls in a stage, and in those that go on with it."""
        # One cosine spans all stages from the last one that anneals anew: DrNAS's two
        # stages share one, P-DARTS's have one each.
        first = max(i for i in range(index + 1) if self.anneals_anew(i))
        later = next((i for i in range(first + 1, len(self.stages)) if self.anneals_anew(i)), len(self.stages))
        return Annealing(sum(self.lengths[first:later]), self.stages[first].learning_rate_factor)
