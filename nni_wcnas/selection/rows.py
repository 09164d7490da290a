"""Scores as plain numbers, and cells that keep all of their edges: what selections share."""

from __future__ import annotations

import torch
from torch import Tensor

from nni_wcnas.contracts import CellGenotype, CellLayout, Choice
from nni_wcnas.errors import DivergedError

__all__ = ['Rows', 'best_of_each_edge', 'finite_rows']

Rows = list[list[float]]
"""Scores of the candidates: for each edge, a list over the operations."""


def finite_rows(matrix: Tensor) -> Rows:
    """Return a matrix of scores, shape ``(E, K)`` or ``(E, K + 1)``, as lists of numbers.

    Raises
    ------
    DivergedError
        When one is not finite: a diverged search has no cell.
    """
    # Minus infinity passes, as the logit of a pruned candidate. NaN does not: it compares false with everything.
    if not (matrix < torch.inf).all():
        raise DivergedError(
            'the architecture parameters are not finite, so no cell can be read off: the search diverged',
            'lower the learning rates or clip gradients',
        )
    return matrix.tolist()


def best_of_each_edge(rows: Rows, layout: CellLayout) -> CellGenotype:
    """Return the strongest operation of each edge, 'none' included; ties keep the earlier operation."""
    # `max` returns the first of equal columns.
    columns = range(len(layout.operations))
    return tuple(
        tuple(
            Choice(layout.operations[max(columns, key=rows[edge].__getitem__)], source)
            for source, edge in enumerate(layout.edges_into(node))
        )
        for node in range(layout.num_nodes)
    )
