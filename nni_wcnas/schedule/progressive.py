"""Progressive: a supernet that loses candidate operations from stage to stage, and grows otherwise.

Two forms. P-DARTS bridges the depth gap: 5, 11, 17 cells with 8, 5, 3 operations on each edge; every stage starts anew,
and its first epochs leave the architecture alone. DrNAS widens: the operations see 1/6, then 1/4 of the channels, of 7
operations 4 stay, and the weights are carried over. Before a stage each edge keeps its strongest operations by mixing
weight; ties keep the earlier one. Pruned operations are not computed, so later stages are cheaper by the operation and
dearer by the cell.

    Progressive(operations=(5, 3), num_cells=(5, 11, 17))               P-DARTS
    Progressive(operations=(4,), shares=(6, 4), is_fresh=False)         DrNAS

Deviations: P-DARTS's last cut, to one operation, is the selection's; new channels copy old ones where weights are
carried over (see ``supernet/widening.py``).

References
----------
Chen, Xie, Wu, Tian, "Progressive Differentiable Architecture Search", ICCV 2019, section 3.2; Chen, Wang, Cheng, Tang,
Hsieh, "DrNAS: Dirichlet Neural Architecture Search", ICLR 2021, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nni_wcnas.contracts import CellLayout, CellScores, Schedule, Stage
from nni_wcnas.errors import InvalidArgument

__all__ = ['Progressive']


@dataclass(frozen=True)
class Progressive(Schedule):
    """Prune candidate operations between stages.

    Parameters
    ----------
    operations
        How many operations stay on each edge after the first stage, the second, and so on: a number, or below 1 a
        share of those that the space has. An edge that has fewer keeps them.
    num_cells
        Depth of each stage, one more than of ``operations``; None leaves the space's. Depth changes between fresh
        stages only.
    shares
        In each stage operations see one of so many parts of the channels, in the place of ``PartialChannels(k)``; one
        more than of ``operations``, None leaves it.
    is_fresh
        Whether weights and architecture start anew in each stage.
    epochs
        Length of each stage; None takes the evaluator's ``max_epochs``.
    warmup
        Epochs at the start of each stage that leave the architecture alone.

    Raises
    ------
    ValueError
        When the stages do not agree in number, a number of operations rises or is not positive, or the depth changes
        or operations become narrower without a fresh start.
    """

    operations: tuple[float, ...] = (5, 3)
    num_cells: tuple[int, ...] | None = None
    shares: tuple[int, ...] | None = None
    is_fresh: bool = True
    epochs: int | None = None
    warmup: int = 0
    needs_cells = True

    def __post_init__(self) -> None:
        count = len(self.operations) + 1
        if count == 1:
            raise InvalidArgument(
                'operations', self.operations, 'say how many stay after each stage but the last, as (5, 3)'
            )
        for name, wanted in (('operations', count - 1), ('num_cells', count), ('shares', count)):
            given = getattr(self, name)
            if given is None:
                continue
            object.__setattr__(self, name, tuple(given))  # A settings file holds a list.
            if len(given) != wanted:
                raise InvalidArgument(
                    name, list(given), f'give operations one or more, and {wanted} as {name}',
                    reason=f'has {len(given)} numbers, and operations {count - 1}',
                )
            if min(given) <= 0:
                raise InvalidArgument(name, list(given), 'be positive')
        if any(number > 1 and number != int(number) for number in self.operations):
            raise InvalidArgument('operations', list(self.operations), 'be whole numbers, or shares below 1')
        if any(later > earlier for earlier, later in zip(self.operations, self.operations[1:])):
            raise InvalidArgument('operations', list(self.operations), 'not rise from stage to stage')
        if self.num_cells is not None and len(set(self.num_cells)) > 1 and not self.is_fresh:
            raise InvalidArgument(
                'num_cells', list(self.num_cells), 'use is_fresh=True',
                reason='changes, and new cells have no weights to carry over',
            )
        shares = self.shares or ()
        if not self.is_fresh and any(later > earlier for earlier, later in zip(shares, shares[1:])):
            raise InvalidArgument(
                'shares', list(shares), 'use is_fresh=True',
                reason='rises from stage to stage, and weights are carried over to operations as wide or wider',
            )
        if self.epochs is not None and self.epochs < 1:
            raise InvalidArgument('epochs', self.epochs, 'be at least 1')
        if self.warmup < 0 or (self.epochs is not None and self.warmup >= self.epochs):
            raise InvalidArgument(
                'warmup', self.warmup,
                f'be 0 or more and leave some of the {self.epochs} epochs of a stage to search in'
            )

    def stages(self, cells: Sequence[CellLayout]) -> tuple[Stage, ...]:
        """Return one stage more than there are numbers of operations."""
        del cells  # Unused: the stages are the same for all.
        none = [None] * (len(self.operations) + 1)
        depths, shares = self.num_cells or none, self.shares or none
        # The first stage is never fresh: its supernet is the one that the search begins with.
        return tuple(
            Stage(self.epochs, self.warmup, depth, share, self.is_fresh and index > 0)
            for index, (depth, share) in enumerate(zip(depths, shares))
        )

    def pruned(self, stage: int, scores: CellScores) -> set[tuple[int, int]]:
        """Return all but the strongest operations of each edge."""
        names, count = scores.layout.operations, self.operations[stage - 1]
        # A share is rounded up, so that at least one operation stays.
        kept = math.ceil(count * len(names)) if count < 1 else int(count)
        gone: set[tuple[int, int]] = set()
        for row, (logits, strengths) in enumerate(zip(scores.logits.tolist(), scores.probabilities.tolist())):
            # Strength 0 does not tell a pruned candidate from one that underflowed; a logit of minus infinity does.
            left = [column for column in range(len(names)) if logits[column] > -math.inf]
            if kept == 1 and not scores.layout.keeps_all_edges:  # 'none' alone would be no edge.
                left = [column for column in left if names[column] != 'none'] or left
            # `sorted` is stable, so ties keep the earlier operation. A hidden 'none' in column K is never a candidate.
            strongest = sorted(left, key=strengths.__getitem__, reverse=True)[:kept]
            gone |= {(row, column) for column in range(len(names)) if column not in strongest}
        return gone
