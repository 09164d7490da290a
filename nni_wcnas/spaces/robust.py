"""The four reduced DARTS spaces on which differentiable search is known to fail.

S1 has two operations on each edge, which differ from edge to edge. S2 is {skip_connect, sep_conv_3x3}; S3 is {none,
skip_connect, sep_conv_3x3}; S4 is {noise, sep_conv_3x3}, where the noise can only hurt. Everything else is as in
:class:`~nni_wcnas.spaces.darts.DARTS`.

References
----------
Zela et al., "Understanding and Robustifying Differentiable Architecture Search", ICLR 2020, section 3.
"""

from __future__ import annotations

from typing import Literal

from nni_wcnas.spaces.candidates import S1, S2_OPERATIONS, S3_OPERATIONS, S4_OPERATIONS
from nni_wcnas.spaces.darts import DARTS
from nni_wcnas.spaces.operations import PRIMITIVES

__all__ = ['s1', 's2', 's3', 's4']


def s1(
    width: int = 16,
    num_cells: int = 8,
    num_classes: int = 10,
    stem_multiplier: int = 3,
    stem: Literal['cifar', 'imagenet'] = 'cifar',
) -> DARTS:
    """Return the space S1: on each edge the two operations of :data:`~nni_wcnas.spaces.candidates.S1`.

    The candidates are all operations that some edge may have, in the order of the DARTS code. On each edge, all but its
    own two are pruned before the search. The arguments are those of :class:`~nni_wcnas.spaces.darts.DARTS`.

    Examples
    --------
    >>> s1(width=4, num_cells=3).operations
    ('max_pool_3x3', 'avg_pool_3x3', 'skip_connect', 'sep_conv_3x3', 'dil_conv_3x3', 'dil_conv_5x5')
    """
    # One matrix of logits has the same columns on all edges, so S1 is a space of six operations with most of them
    # pruned.
    used = {name for rows in S1.values() for names in rows for name in names}
    operations = tuple(name for name in PRIMITIVES if name in used)
    return DARTS(
        width, num_cells, num_classes, operations, stem_multiplier=stem_multiplier, stem=stem, allowed=S1
    )


def s2(
    width: int = 16,
    num_cells: int = 8,
    num_classes: int = 10,
    stem_multiplier: int = 3,
    stem: Literal['cifar', 'imagenet'] = 'cifar',
) -> DARTS:
    """Return the space S2: skip_connect or sep_conv_3x3 on each edge; arguments as for :func:`s1`."""
    return DARTS(width, num_cells, num_classes, S2_OPERATIONS, stem_multiplier=stem_multiplier, stem=stem)


def s3(
    width: int = 16,
    num_cells: int = 8,
    num_classes: int = 10,
    stem_multiplier: int = 3,
    stem: Literal['cifar', 'imagenet'] = 'cifar',
) -> DARTS:
    """Return the space S3: none, skip_connect or sep_conv_3x3 on each edge; arguments as for :func:`s1`."""
    return DARTS(width, num_cells, num_classes, S3_OPERATIONS, stem_multiplier=stem_multiplier, stem=stem)


def s4(
    width: int = 16,
    num_cells: int = 8,
    num_classes: int = 10,
    stem_multiplier: int = 3,
    stem: Literal['cifar', 'imagenet'] = 'cifar',
) -> DARTS:
    """Return the space S4: noise or sep_conv_3x3 on each edge; arguments as for :func:`s1`."""
    return DARTS(width, num_cells, num_classes, S4_OPERATIONS, stem_multiplier=stem_multiplier, stem=stem)
