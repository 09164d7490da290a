"""The axis selection: how a discrete cell is read off the relaxed one."""

from __future__ import annotations

from abc import ABC, abstractmethod

from nni_wcnas.contracts.cell import CellGenotype, CellScores

__all__ = ['Selection']


class Selection(ABC):
    """How a discrete cell is read off the relaxed one. Pure: the same scores give the same genotype."""

    @abstractmethod
    def select(self, scores: CellScores) -> CellGenotype:
        """Choose ``num_ops_per_node`` edges for each node, or one operation for each edge where all edges are kept.

        Raises
        ------
        ValueError
            When a score is not finite: a diverged search has no cell.
        """
