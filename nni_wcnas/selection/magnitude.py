"""Magnitude: keep what weighs most.

For each node: the strength of an edge is its largest score over the operations other than 'none'; the two strongest
edges stay, each with its strongest operation (Liu et al., 2019, section 2.4).

``by='probability'`` ranks edges by the mixing weights, as the official code does: softmax includes 'none', so a large
'none' costs an edge its place. ``by='logit'`` ranks by the raw parameters, as NNI's own export does, ties and all (the
larger source first, then the operation later in the alphabet). The two rules disagree whenever edges differ in the
normaliser of their softmax. In a cell that keeps all edges, each keeps its strongest operation, 'none' included. Acts
once, at export; costs nothing.

References
----------
Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, section 2.4; quark0/darts f276dd3,
cnn/model_search.py line 133.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nni_wcnas.contracts import CellGenotype, CellLayout, CellScores, Choice, Selection
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.selection.rows import Rows, best_of_each_edge, finite_rows

__all__ = ['Magnitude']


@dataclass(frozen=True)
class Magnitude(Selection):
    """Select by the size of mixing weights or of raw logits.

    Parameters
    ----------
    by
        ``'probability'`` (the official rule, default) or ``'logit'`` (NNI's rule).
    """

    by: Literal['probability', 'logit'] = 'probability'

    def __post_init__(self) -> None:
        if self.by not in ('probability', 'logit'):
            raise InvalidArgument('by', self.by, "be 'probability' or 'logit'")

    def select(self, scores: CellScores) -> CellGenotype:
        """Keep the ``num_ops_per_node`` strongest edges of each node, each with its strongest operation.

        Raises
        ------
        ValueError
            When a score is not finite: a diverged search has no cell.
        """
        rows = finite_rows(scores.probabilities if self.by == 'probability' else scores.logits)
        # `rows` is a list of E rows; 'none' takes part in the softmax, but is skipped below.
        layout = scores.layout
        if layout.keeps_all_edges:
            return best_of_each_edge(rows, layout)
        return tuple(self._node(rows, layout, node) for node in range(layout.num_nodes))

    def _node(self, rows: Rows, layout: CellLayout, node: int) -> tuple[Choice, ...]:
        """Return the kept edges of one intermediate node, strongest first."""
        # zip stops at the K named operations, so that a hidden 'none' in column K is left out. `source` is the state's
        # number within the node, as edges into a node are ordered by source.
        candidates = [
            (value, source, name)
            for source, edge in enumerate(layout.edges_into(node))
            for value, name in zip(rows[edge], layout.operations)
            if name != 'none'
        ]
        if self.by == 'logit':
            # As NNI's export sorts: equal values by the larger source, then by the later name in the alphabet.
            candidates.sort(reverse=True)
        else:  # A stable sort: ties keep the lower source, then the earlier operation.
            candidates.sort(key=lambda candidate: -candidate[0])
        # `first` has the best operation of each source, `rest` all others; both stay sorted.
        first: list[tuple[float, int, str]] = []
        rest: list[tuple[float, int, str]] = []
        for candidate in candidates:
            (rest if any(candidate[1] == chosen[1] for chosen in first) else first).append(candidate)
        # Nodes with fewer sources than kept edges repeat a source with its next best operation.
        ranked = first + rest
        return tuple(
            Choice(name, source)
            for _, source, name in (ranked[k % len(ranked)] for k in range(layout.num_ops_per_node))
        )
