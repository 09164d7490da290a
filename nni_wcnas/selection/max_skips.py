"""MaxSkips: at most so many skip connections in the normal cell, the restriction of P-DARTS.

While the inner selection keeps more skips than that, the weakest of those it kept is taken out, and it selects again.
Skips train faster than convolutions and so win edges that they do not deserve. Reduction cells stay as they are,
and so do edges that have nothing but a skip. Acts once, at export; costs nothing.

    MaxSkips(Magnitude(), limit=2)                  P-DARTS

References
----------
Chen, Xie, Wu, Tian, "Progressive Differentiable Architecture Search", ICCV 2019, section 3.3.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import inf

from nni_wcnas.contracts import CellGenotype, CellScores, Selection
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.selection.magnitude import Magnitude

__all__ = ['MaxSkips']


@dataclass(frozen=True)
class MaxSkips(Selection):
    """Let another selection keep at most so many skip connections in a normal cell.

    Parameters
    ----------
    inner
        The selection to restrict.
    limit
        Skip connections that a normal cell may keep.

    Raises
    ------
    ValueError
        When ``limit`` is negative.
    """

    inner: Selection = Magnitude()
    limit: int = 2

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise InvalidArgument('limit', self.limit, 'be 0 or more skip connections')

    def select(self, scores: CellScores) -> CellGenotype:
        """Select until few enough skips are left, or only those that have no alternative.

        Raises
        ------
        ValueError
            When a score is not finite.
        """
        genotype = self.inner.select(scores)
        while not scores.layout.is_reduction:
            # One skip goes at a time: without it, the inner selection may keep another edge, with a skip of its own.
            skips = _skips(genotype, scores)
            weakest = next((skip[1:] for skip in skips if _has_alternative(scores, *skip[1:])), None)
            if len(skips) <= self.limit or weakest is None:
                break
            # As if it had been pruned, so that any inner selection passes it over. Each
            # round takes one candidate, so this ends.
            scores = _without(scores, *weakest)
            genotype = self.inner.select(scores)
        return genotype


def _skips(genotype: CellGenotype, scores: CellScores) -> list[tuple[float, int, int]]:
    """Return probability, row and column of the skips that were kept, the weakest first."""
    layout = scores.layout
    # A set, as a node with few sources may keep one pair twice. `source` counts within the node:
    # edges_into turns it into a row of the matrix.
    kept = {
        (
            layout.edges_into(node)[choice.source],
            layout.operations.index(choice.operation),
        )
        for node, choices in enumerate(genotype)
        for choice in choices
        if 'skip' in choice.operation
    }
    return sorted((float(scores.probabilities[row, column]), row, column) for row, column in kept)


def _has_alternative(scores: CellScores, row: int, column: int) -> bool:
    """Whether an edge has another operation to keep than the one in ``column``."""
    names = scores.layout.operations
    # A probability of 0 is that of a pruned candidate; 'none' counts only where it may be kept.
    return any(
        scores.probabilities[row, other] > 0
        for other in range(len(names))
        if other != column and (names[other] != 'none' or scores.layout.keeps_all_edges)
    )


def _without(scores: CellScores, row: int, column: int) -> CellScores:
    """Return the scores as if one candidate had been pruned."""
    logits, probabilities = scores.logits.clone(), scores.probabilities.clone()
    logits[row, column], probabilities[row, column] = -inf, 0.0
    return replace(scores, logits=logits, probabilities=probabilities)
