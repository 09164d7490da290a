"""Tables of the operations that a reduced space allows on each edge. They are plain facts, which do not need NNI.

References
----------
Zela et al., "Understanding and Robustifying Differentiable Architecture Search", ICLR 2020, section 3 and appendix B
(the tables of S1 are those of the authors' release).
"""

from __future__ import annotations

__all__ = ['ALLOWED', 'DENSE_LABEL', 'DENSE_NODES', 'S1', 'S2_OPERATIONS', 'S3_OPERATIONS', 'S4_OPERATIONS', 'Table',
           'dense_labels', 'restrictions']

Table = dict[str, tuple[tuple[str, ...], ...]]
"""Allowed operations by label of the cell, for each edge, ordered by node and source state."""

_SKIP, _MAX, _AVG = 'skip_connect', 'max_pool_3x3', 'avg_pool_3x3'
_SEP3, _DIL3, _DIL5 = 'sep_conv_3x3', 'dil_conv_3x3', 'dil_conv_5x5'

# Fourteen rows a cell: the edges into node 2 (2), 3 (3), 4 (4) and 5 (5), in each by source state. The two names of a
# row have the order of the release.
S1: Table = {
    'normal': (
        (_SKIP, _DIL3),
        (_SKIP, _DIL5),
        (_SKIP, _DIL5),
        (_SKIP, _SEP3),
        (_SKIP, _DIL3),
        (_MAX, _SKIP),
        (_SKIP, _SEP3),
        (_SKIP, _SEP3),
        (_SKIP, _DIL3),
        (_SKIP, _SEP3),
        (_MAX, _SKIP),
        (_SKIP, _DIL3),
        (_DIL3, _DIL5),
        (_DIL3, _DIL5),
    ),
    'reduce': (
        (_MAX, _AVG),
        (_MAX, _DIL3),
        (_MAX, _AVG),
        (_MAX, _AVG),
        (_SKIP, _DIL5),
        (_MAX, _AVG),
        (_MAX, _SEP3),
        (_SKIP, _DIL3),
        (_SKIP, _DIL5),
        (_MAX, _AVG),
        (_MAX, _AVG),
        (_SKIP, _DIL5),
        (_SKIP, _DIL5),
        (_SKIP, _DIL5),
    ),
}
"""The space S1: two operations on each edge, the best of a first search."""

S2_OPERATIONS = (_SKIP, _SEP3)
"""Operations on all edges of the space S2."""
S3_OPERATIONS = ('none', _SKIP, _SEP3)
"""Operations on all edges of the space S3."""
S4_OPERATIONS = ('noise', _SEP3)
"""Operations on all edges of the space S4."""


def _everywhere(operations: tuple[str, ...]) -> Table:
    """Return a table that allows the same operations on all edges of both cells."""
    return {label: (operations,) * len(rows) for label, rows in S1.items()}


ALLOWED: dict[str, Table] = {
    's1': S1,
    's2': _everywhere(S2_OPERATIONS),
    's3': _everywhere(S3_OPERATIONS),
    's4': _everywhere(S4_OPERATIONS),
}
"""Tables of the reduced spaces, by name of the space."""

DENSE_NODES = 3
"""Number of nodes of the cell of NAS-Bench-201, its input not counted."""
DENSE_LABEL = 'cell'
"""Label of the cell of NAS-Bench-201."""


def dense_labels() -> tuple[str, ...]:
    """Return the labels of the edges of the cell of NAS-Bench-201, ordered by node and source state.

    >>> dense_labels()
    ('cell/1_0', 'cell/2_0', 'cell/2_1', 'cell/3_0', 'cell/3_1', 'cell/3_2')
    """
    targets = range(1, DENSE_NODES + 1)
    return tuple(f'{DENSE_LABEL}/{target}_{source}' for target in targets for source in range(target))


def restrictions(allowed: Table, operations: tuple[str, ...]) -> dict[str, set[tuple[int, int]]]:
    """Return the candidates (row, column) of the architecture matrix that a table forbids, by label of the cell.

    Rows are edges in the order of the table, columns are operations in the given order.

    >>> restrictions({'normal': (('noise',), ('skip_connect', 'noise'))}, ('skip_connect', 'noise'))
    {'normal': {(0, 0)}}
    """
    return {
        label: {
            (row, column)
            for row, names in enumerate(rows)
            for column, name in enumerate(operations)
            if name not in names
        }
        for label, rows in allowed.items()
    }
