"""A supernet without a network: what each candidate is worth is a number, so the best architecture is known."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from nni_wcnas import Magnitude
from nni_wcnas.contracts import CellGenotype, CellLayout, CellScores, Moment, Schedule, Supernet
from nni_wcnas.search.staging import Stages

OPERATIONS = ('none', 'skip_connect', 'pool', 'conv')


class FakeSupernet(Supernet):
    """Accuracy is the sum of what all candidates with weight are worth, and so is minus the loss.

    Parameters
    ----------
    layouts
        By label.
    accuracy, loss
        What candidates are worth to each, shape ``(E, K)``, by label; zeros where nothing is given.
    logits
        By label; zeros where nothing is given.
    eigenvalues
        One for each measurement.
    seed
        Of the draws.
    """

    def __init__(
        self,
        layouts: dict[str, CellLayout],
        accuracy: dict[str, Tensor] | None = None,
        loss: dict[str, Tensor] | None = None,
        logits: dict[str, Tensor] | None = None,
        eigenvalues: Iterable[float] = (),
        seed: int = 0,
    ) -> None:
        zeros = {
            label: torch.zeros(len(layout.edges), len(layout.operations), dtype=torch.float64)
            for label, layout in layouts.items()
        }
        self.layouts, self.logits = layouts, {**zeros, **(logits or {})}
        self.worth = {**zeros, **(accuracy or {})}, {**zeros, **(loss or {})}
        self.pruned: dict[str, set[tuple[int, int]]] = {label: set() for label in layouts}
        self.dropped: dict[str, set[int]] = {label: set() for label in layouts}
        self.calls: list[tuple[str, frozenset[tuple[int, int]]]] = []
        """What :meth:`validate` was asked."""
        self.epoch = 0
        self.memory: dict[str, Any] = {}
        self._eigenvalues: Iterator[float] = iter(eigenvalues)
        self._generator = torch.Generator().manual_seed(seed)

    def _gone(self, label: str) -> set[tuple[int, int]]:
        columns = range(len(self.layouts[label].operations))
        return self.pruned[label] | {(row, column) for row in self.dropped[label] for column in columns}

    def scores(self) -> dict[str, CellScores]:
        found = {}
        for label, layout in self.layouts.items():
            logits = self.logits[label].clone()
            for row, column in self.pruned[label]:
                logits[row, column] = -torch.inf
            strengths = logits.softmax(-1)
            strengths[sorted(self.dropped[label])] = 0.0
            logits[sorted(self.dropped[label])] = -torch.inf
            found[label] = CellScores(logits, strengths, layout)
        return found

    def select(self, label: str) -> CellGenotype:
        return Magnitude().select(self.scores()[label])

    def export(self) -> dict[str, Any]:
        return {'epoch': self.epoch}

    def prune(self, label: str, candidates: Iterable[tuple[int, int]]) -> None:
        self.pruned[label] |= set(candidates)

    def drop(self, label: str, edges: Iterable[int]) -> None:
        self.dropped[label] |= set(edges)

    def validate(self, label: str, without: Iterable[tuple[int, int]]) -> tuple[float, float]:
        without = frozenset(without)
        self.calls.append((label, without))
        accuracy, benefit = (
            sum(
                float(value)
                for other, table in worth.items()
                for (row, column), value in _entries(table)
                if (row, column) not in self._gone(other) | (without if other == label else set())
            )
            for worth in self.worth
        )
        return -benefit, accuracy

    def largest_eigenvalue(self) -> float:
        return next(self._eigenvalues)

    def draw(self, count: int) -> int:
        return int(torch.randint(count, (), generator=self._generator))


def _entries(table: Tensor) -> Iterator[tuple[tuple[int, int], Tensor]]:
    return (((row, column), value) for row, values in enumerate(table) for column, value in enumerate(values))


def drive(
    schedule: Schedule,
    supernet: FakeSupernet,
    max_epochs: int = 1,
    look: Callable[[Moment], None] = lambda moment: None,
) -> tuple[int, dict[str, Any] | None]:
    """All epochs of a schedule, as a search goes through them: how many there were, and the sample of a stop rule.

    ``look`` is called within each epoch.
    """
    stages = Stages(schedule.stages(list(supernet.layouts.values())), max_epochs)
    for epoch in range(stages.epochs):
        supernet.epoch = epoch
        index = stages.starts_at(epoch)
        if index is not None:
            for label, scores in supernet.scores().items():
                supernet.prune(label, schedule.pruned(index, scores))
        moment = stages.moment(epoch, seed=0)
        schedule.begin_epoch(supernet, moment)
        look(moment)
        sample = schedule.end_epoch(supernet, moment)
        if sample is not None:
            return epoch + 1, sample
    return stages.epochs, None
