"""A type of cell: its graph, what a selection is told of it, and what is read off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

__all__ = ['Edge', 'CellLayout', 'CellScores', 'Choice', 'CellGenotype']


class Edge(NamedTuple):
    """An edge of a cell, between two of its states; the predecessors come first."""

    source: int
    target: int


@dataclass(frozen=True)
class CellLayout:
    """The graph of one type of cell: E edges with K candidate operations each.

    Edges are the rows of the architecture matrix, candidates its columns.
    """

    operations: tuple[str, ...]
    """Names of the K candidate operations; an explicit ``'none'`` among them is never selected."""
    num_predecessors: int = 2
    num_nodes: int = 4
    num_ops_per_node: int = 2
    label: str = 'normal'
    is_reduction: bool = False
    keeps_all_edges: bool = False
    """Whether every edge stays, with one operation, ``'none'`` included, as in NAS-Bench-201."""

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The E edges in the order of the rows: by target node, then by source state."""
        first = self.num_predecessors
        return tuple(
            Edge(source, target) for target in range(first, first + self.num_nodes) for source in range(target)
        )

    def edges_into(self, node: int) -> range:
        """Return the rows of the edges that enter intermediate ``node`` (from 0), ordered by source state."""
        # Node n has an edge from each predecessor and each earlier node, so the
        # rows before it are a sum of such counts.
        start = sum(self.num_predecessors + earlier for earlier in range(node))
        return range(start, start + self.num_predecessors + node)


@dataclass(frozen=True)
class CellScores:
    """What a selection is told of one relaxed cell."""

    logits: Tensor
    """Raw architecture parameters, shape ``(E, K)`` or ``(E, K + 1)`` when the relaxation carries a hidden 'none' in
    the last column; minus infinity for a candidate that was pruned."""
    probabilities: Tensor
    """Strength of each candidate by the relaxation, same shape as ``logits``; 0 for a candidate that was pruned."""
    layout: CellLayout


class Choice(NamedTuple):
    """One kept edge of a cell: operation ``operation`` applied to state ``source``."""

    operation: str
    source: int


CellGenotype = tuple[tuple[Choice, ...], ...]
"""The kept edges of each intermediate node, strongest first."""
