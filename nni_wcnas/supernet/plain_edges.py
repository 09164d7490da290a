"""The edges of a relaxed cell as the papers write them: each operation on each edge, one after the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import Tensor, nn

from nni_wcnas.functional.mixing import Mix
from nni_wcnas.supernet.surroundings import Surroundings

__all__ = ['PlainEdges']


class PlainEdges:
    """Mix every edge, sum the edges into each node.

    Parameters
    ----------
    ops
        For each node, for each of its sources, the candidate operations by name.
    mix
        Adds up an edge.
    """

    def __init__(self, ops: nn.ModuleList, mix: Mix) -> None:
        self.ops, self.mix = ops, mix

    def __call__(
        self,
        states: Sequence[Tensor],
        weights: Tensor,
        absent: Collection[tuple[int, int]] = (),
        surroundings: Surroundings | None = None,
    ) -> list[Tensor]:
        """All states of the cell, the given predecessors first.

        Parameters
        ----------
        states
            The predecessors, each of shape ``(N, C, H, W)``.
        weights
            Mixing weights, shape ``(E, K)`` or ``(E, K + 1)`` with those of a hidden 'none' last.
        absent
            Rows and columns of weights that are zero; those operations are not computed.
        surroundings
            What lies around the mixture; None is nothing.
        """
        around = surroundings or Surroundings()
        states = list(states)
        rows = weights.unbind(0)
        first = 0
        for edges in self.candidates():
            entering = range(first, first + len(edges))
            incoming = [
                self._mixed(around.inside(state), modules, row, rows[row], absent)
                for state, modules, row in zip(states, edges, entering)
                if any((row, column) not in absent for column in range(len(modules)))
            ]
            states.append(around.outside(sum(incoming[1:], incoming[0]), states, entering))
            first = entering.stop
        return states

    def candidates(self) -> list[list[list[nn.Module]]]:
        """The operations of each source of each node."""
        return [[list(edge.children()) for edge in node.children()] for node in self.ops.children()]

    def _mixed(self, state: Tensor, candidates: Sequence[nn.Module], row: int, weights: Tensor,
               absent: Collection[tuple[int, int]]) -> Tensor:
        """One edge."""
        kept = [column for column in range(len(candidates)) if (row, column) not in absent]
        if len(kept) < len(candidates):
            weights = weights[kept]
        return self.mix([candidates[column](state) for column in kept], weights)
