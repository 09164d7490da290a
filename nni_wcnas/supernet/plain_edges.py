"""The edges of a relaxed cell as the papers write them: each operation on each edge, one after the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import Tensor, nn

from nni_wcnas.functional.mixing import Mix
from nni_wcnas.supernet.edge_context import EdgeContext

__all__ = ['PlainEdges']


class PlainEdges:
    """The edges of a cell, computed one by one: mix the candidates of every edge, sum the edges into each node.

    Parameters
    ----------
    ops
        The candidate operations by name, for each source of each node: a list of lists of dictionaries.
    mix
        Adds up the outputs of an edge with its weights.
    """

    def __init__(self, ops: nn.ModuleList, mix: Mix) -> None:
        self.ops, self.mix = ops, mix

    def __call__(
        self,
        states: Sequence[Tensor],
        weights: Tensor,
        absent: Collection[tuple[int, int]] = (),
        context: EdgeContext | None = None,
    ) -> list[Tensor]:
        """Return all states of the cell, the given predecessors first.

        Parameters
        ----------
        states
            The predecessors, each of shape ``(N, C, H, W)``.
        weights
            Mixing weights, shape ``(E, K)`` or ``(E, K + 1)`` with those of a hidden 'none' last.
        absent
            Candidates (row, column) whose weights are zero; their operations are not computed. At least one edge of
            each node has a candidate left.
        context
            What lies around the mixture; None for nothing.

        Returns
        -------
        The predecessors and the states of all nodes, in this order; those of nodes have shape ``(N, C, H', W')``.
        """
        around = context or EdgeContext()
        states = list(states)
        rows = weights.unbind(0)
        first = 0
        # Rows are numbered node by node, and in a node by source: the order of CellLayout.edges.
        for edges in self.candidates():
            entering = range(first, first + len(edges))
            # zip pairs the k-th edge of a node with the k-th state. An edge without any candidate left adds nothing.
            incoming = [
                self._mixed(around.inside(state), modules, row, rows[row], absent)
                for state, modules, row in zip(states, edges, entering)
                if any((row, column) not in absent for column in range(len(modules)))
            ]
            # sum() starts from the first tensor: from 0, it would add an operation to the graph.
            states.append(around.outside(sum(incoming[1:], incoming[0]), states, entering))
            first = entering.stop
        return states

    def candidates(self) -> list[list[list[nn.Module]]]:
        """Return the candidate operations as lists, by node and source."""
        return [[list(edge.children()) for edge in node.children()] for node in self.ops.children()]

    def _mixed(self, state: Tensor, candidates: Sequence[nn.Module], row: int, weights: Tensor,
               absent: Collection[tuple[int, int]]) -> Tensor:
        """Return the weighted sum of the candidates of one edge, row ``row`` of the weights, shape ``(N, C, H, W)``."""
        kept = [column for column in range(len(candidates)) if (row, column) not in absent]
        # Without absent candidates all columns stay, a hidden 'none' in the last one included; otherwise only those of
        # the outputs, and the mix must not expect another.
        if len(kept) < len(candidates):
            weights = weights[kept]
        return self.mix([candidates[column](state) for column in kept], weights)
