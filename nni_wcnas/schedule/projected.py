"""Projected: each edge keeps the operation without which the supernet does worst, the selection of DARTS-PT.

Magnitudes of the architecture parameters say little about an operation's worth. After an ordinary search the schedule
decides one random edge of each type of cell at a time: every operation in turn gets no weight, the others keep theirs,
and the operation whose removal costs most validation accuracy (or loss) stays alone. When all edges are decided, each
node with more than its share of edges loses, one by one, those without which accuracy stays highest. Between decisions
the supernet is tuned for ``tune_epochs`` epochs, at a tenth of the learning rate. Statistics of a pass are those of its
batch, and none is moved.

Cost on the DARTS space: 17 decisions and 81 epochs of tuning, 240 passes over the architecture's half of the data.

Deviations: 'none' is no choice where an edge may go altogether (the selection could not keep it); of equally harmless
edges the earlier one goes, in the published code the later; the last decision is tuned for one epoch in every space.

References
----------
Wang, Cheng, Chen, Tang, Hsieh, "Rethinking Architecture Selection in Differentiable NAS", ICLR 2021, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nni_wcnas.contracts import CellLayout, CellScores, Moment, Schedule, Stage, Supernet
from nni_wcnas.errors import InvalidArgument

__all__ = ['Projected']


@dataclass(frozen=True)
class Projected(Schedule):
    """Search, then decide edge by edge.

    Parameters
    ----------
    epochs
        Length of the search before the decisions; None takes the evaluator's ``max_epochs``.
    warmup
        Epochs at the start of that search that leave the architecture alone.
    tune_epochs
        Number of epochs from one decision to the next.
    criterion
        What a removal is judged by: ``'accuracy'`` or ``'loss'``.
    learning_rate_factor
        Factor of the weights' learning rate while edges are decided.

    Raises
    ------
    ValueError
        When a number of epochs is out of range, or the criterion is unknown.
    """

    epochs: int | None = None
    warmup: int = 0
    tune_epochs: int = 5
    criterion: Literal['accuracy', 'loss'] = 'accuracy'
    learning_rate_factor: float = 0.1
    needs_cells = True
    judges_candidates = True

    def __post_init__(self) -> None:
        for name in ('epochs', 'tune_epochs'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidArgument(name, value, 'be at least 1')
        if self.warmup < 0 or (self.epochs is not None and self.warmup >= self.epochs):
            raise InvalidArgument(
                'warmup', self.warmup, f'be 0 or more and leave some of the {self.epochs} epochs to search in'
            )
        if self.criterion not in ('accuracy', 'loss'):
            raise InvalidArgument('criterion', self.criterion, "be 'accuracy' or 'loss'")
        if not 0 < self.learning_rate_factor < math.inf:
            raise InvalidArgument('learning_rate_factor', self.learning_rate_factor, 'be positive and finite')

    def stages(self, cells: Sequence[CellLayout]) -> tuple[Stage, Stage]:
        """Return two stages: the search, and the decisions."""
        # All types of cells decide at the same time, so the one with most decisions sets the length.
        decisions = max((len(cell.edges) + len(_crowded(cell)) for cell in cells), default=1)
        # The first decision is at epoch 0, the last at tune_epochs (decisions - 1),
        # tuned for one epoch: 81 on the DARTS space.
        tuning = self.tune_epochs * (decisions - 1) + 1
        return Stage(self.epochs, self.warmup), Stage(tuning, learning_rate_factor=self.learning_rate_factor)

    def begin_epoch(self, supernet: Supernet, moment: Moment) -> None:
        """Take one decision for each type of cell, when it is time."""
        if moment.stage == 0 or moment.epoch % self.tune_epochs:
            return
        for label, scores in supernet.scores().items():
            layout = scores.layout
            # Plain lists in the schedule's memory, so that a resumed search goes on with what is undecided.
            if moment.epoch == 0:
                supernet.memory[label] = {'edges': list(range(len(layout.edges))), 'nodes': _crowded(layout)}
            undecided = supernet.memory[label]
            # First the operation of every edge, then the edges of every crowded node, as in algorithm 1.
            if undecided['edges']:
                edge = undecided['edges'].pop(supernet.draw(len(undecided['edges'])))
                self._decide_operation(supernet, label, scores, edge)
            elif undecided['nodes']:
                node = undecided['nodes'].pop(supernet.draw(len(undecided['nodes'])))
                self._decide_inputs(supernet, label, layout, node)

    def _decide_operation(self, supernet: Supernet, label: str, scores: CellScores, edge: int) -> None:
        """Leave on an edge the operation whose removal does most harm; ties keep the earlier one."""
        names, row = scores.layout.operations, scores.logits[edge].tolist()
        left = [column for column in range(len(names)) if row[column] > -math.inf]
        choices = left if scores.layout.keeps_all_edges else [column for column in left if names[column] != 'none']
        # One pass over the architecture's half for each choice; a single one needs no comparison.
        if len(choices) > 1:
            choices = [max(choices, key=lambda column: self._harm(supernet, label, {(edge, column)}))]
        supernet.prune(label, {(edge, column) for column in left if column not in choices})

    def _decide_inputs(self, supernet: Supernet, label: str, layout: CellLayout, node: int) -> None:
        """Remove the least harmful edges into a node, one after the other, until it has its share."""
        kept, removed = list(layout.edges_into(node)), set[int]()
        columns = range(len(layout.operations))
        while len(kept) > layout.num_ops_per_node:

            # Without an edge is without all of its candidates. The default argument fixes the removed edges of this
            # round, as a closure would see those of later rounds.
            def harm(edge: int, removed: frozenset[int] = frozenset(removed)) -> float:
                return self._harm(supernet, label, {(row, column) for row in {*removed, edge} for column in columns})

            # Greedy: each round judges the edges without those that are gone already.
            # `min` takes the earlier of equal ones.
            removed.add(min(kept, key=harm))
            kept = [edge for edge in kept if edge not in removed]
        supernet.drop(label, removed)

    def _harm(self, supernet: Supernet, label: str, without: set[tuple[int, int]]) -> float:
        """Return how bad the supernet is without some candidates: the loss, or minus the accuracy."""
        loss, accuracy = supernet.validate(label, without)
        return loss if self.criterion == 'loss' else -accuracy


def _crowded(layout: CellLayout) -> list[int]:
    """Return the nodes that have more edges than they keep."""
    if layout.keeps_all_edges:
        return []
    return [node for node in range(layout.num_nodes) if len(layout.edges_into(node)) > layout.num_ops_per_node]
