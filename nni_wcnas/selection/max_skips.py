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
from nni_wcnas.selection.magnitude import Magnitude

__all__ = ['MaxSkips']


@dataclass(frozen=True)
class MaxSkips(Selection):
    """Restrict another selection.

    Parameters
    ----------
    inner
        The selection.
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
            raise ValueError(f'limit must be 0 or more skip connections, not {self.limit}')

    def select(self, scores: CellScores) -> CellGenotype:
        """Select until few skips are left, or only those that have no alternative."""
        genotype = self.inner.select(scores)
        while not scores.layout.is_reduction:
            skips = _skips(genotype, scores)
            weakest = next((skip[1:] for skip in skips if _has_alternative(scores, *skip[1:])), None)
            if len(skips) <= self.limit or weakest is None:
                break
            scores = _without(scores, *weakest)
            genotype = self.inner.select(scores)
        return genotype


def _skips(genotype: CellGenotype, scores: CellScores) -> list[tuple[float, int, int]]:
    """Probability, row and column of the skips that were kept, the weakest first."""
    layout = scores.layout
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
    """Whether an edge has another operation to keep."""
    names = scores.layout.operations
    return any(
        scores.probabilities[row, other] > 0
        for other in range(len(names))
        if other != column and (names[other] != 'none' or scores.layout.keeps_all_edges)
    )


def _without(scores: CellScores, row: int, column: int) -> CellScores:
    logits, probabilities = scores.logits.clone(), scores.probabilities.clone()
    logits[row, column], probabilities[row, column] = -inf, 0.0
    return replace(scores, logits=logits, probabilities=probabilities)
