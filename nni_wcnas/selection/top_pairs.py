"""TopPairs: keep the strongest pairs of an edge and an operation, the selection of PR-DARTS.

For each node, all operations other than 'none' of all of its edges compete at once; the strongest stay, by mixing
weight. Two of them may share an edge, which :class:`~nni_wcnas.selection.Magnitude` allows only where a node has fewer
edges than it keeps. In a cell that keeps all edges, each keeps its strongest operation, 'none' included. Ties keep the
lower source, then the earlier operation. Acts once, at export; costs nothing.

References
----------
Zhou, Xiong, Socher, Hoi, "Theory-Inspired Path-Regularized Differential Network Architecture Search", NeurIPS 2020;
salesforce/PR-DARTS 732bf43.
"""

from __future__ import annotations

from dataclasses import dataclass

from nni_wcnas.contracts import CellGenotype, CellLayout, CellScores, Choice, Selection
from nni_wcnas.selection.rows import Rows, best_of_each_edge, finite_rows

__all__ = ['TopPairs']


@dataclass(frozen=True)
class TopPairs(Selection):
    """Select the strongest pairs of an edge and an operation."""

    def select(self, scores: CellScores) -> CellGenotype:
        """Keep the ``num_ops_per_node`` strongest pairs of each node.

        Raises
        ------
        ValueError
            When a score is not finite: a diverged search has no cell.
        """
        rows, layout = finite_rows(scores.probabilities), scores.layout
        if layout.keeps_all_edges:
            return best_of_each_edge(rows, layout)
        return tuple(self._node(rows, layout, node) for node in range(layout.num_nodes))

    def _node(self, rows: Rows, layout: CellLayout, node: int) -> tuple[Choice, ...]:
        """Return the kept pairs of one intermediate node, strongest first."""
        pairs = [
            (value, Choice(name, source))
            for source, edge in enumerate(layout.edges_into(node))
            for value, name in zip(rows[edge], layout.operations)
            if name != 'none'
        ]
        # A stable sort: ties keep the lower source, then the earlier operation.
        pairs.sort(key=lambda pair: -pair[0])
        # A node with fewer pairs than it keeps repeats them from the strongest on.
        return tuple(pairs[k % len(pairs)][1] for k in range(layout.num_ops_per_node))
