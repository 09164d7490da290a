"""P-DARTS's restriction on worked examples."""

import pytest
import torch
from scores import scores_of

from nni_wcnas import Magnitude, MaxSkips, TopPairs
from nni_wcnas.contracts import Choice

SKIP, CONV, POOL = 'skip_connect', 'sep_conv_3x3', 'max_pool_3x3'
ROWS = [[0, 0, 3, 2], [0, 0, 4, 0], [0, 0, 5, 0], [0, 1, 2, 0], [0, 0, 3, 0]]
"""Magnitude keeps skips on all four: edges 0 and 1 of node 0, edges 2 and 4 (sources 0 and 2) of node 1."""


def names(genotype):
    return [choice.operation for node in genotype for choice in node]


def test_unrestricted():
    assert names(MaxSkips(limit=4).select(scores_of(ROWS, nodes=2))) == [SKIP] * 4


def test_the_weakest_kept_skip_goes_first():
    """Edge 0, whose next best is a convolution."""
    genotype = MaxSkips(limit=3).select(scores_of(ROWS, nodes=2))
    assert genotype[0] == (Choice(SKIP, 1), Choice(CONV, 0))
    assert genotype[1] == (Choice(SKIP, 0), Choice(SKIP, 2))


def test_other_edges_and_skips_may_come_in_and_are_taken_out_in_turn():
    """Without its skip, edge 4 loses its place to edge 3, whose skip then is the weakest: a pool stays."""
    genotype = MaxSkips(limit=2).select(scores_of(ROWS, nodes=2))
    assert genotype[0] == (Choice(SKIP, 1), Choice(CONV, 0))
    assert genotype[1] == (Choice(SKIP, 0), Choice(POOL, 1))


def test_none_at_all():
    assert SKIP not in names(MaxSkips(limit=0).select(scores_of(ROWS, nodes=2)))


def test_reduction_cells_are_free():
    scores = scores_of(ROWS, nodes=2, is_reduction=True)
    assert MaxSkips(limit=0).select(scores) == Magnitude().select(scores)


def test_ties_take_out_the_lower_edge():
    genotype = MaxSkips(limit=1).select(scores_of([[0, 0, 2, 1], [0, 0, 2, 1]]))
    assert genotype == ((Choice(SKIP, 1), Choice(CONV, 0)),)


def test_edges_that_have_nothing_else_keep_their_skips():
    """As after pruning."""
    rows = torch.full((2, 4), -torch.inf)
    rows[:, 2] = 0.0
    assert names(MaxSkips(limit=0).select(scores_of(rows.tolist()))) == [SKIP, SKIP]


def test_another_inner_selection():
    scores = scores_of([[0, 2, 4, 3], [5, 0, 0, 0]])
    assert MaxSkips(TopPairs(), limit=0).select(scores) == ((Choice(CONV, 0), Choice(POOL, 0)),)
    assert MaxSkips(Magnitude(), limit=0).select(scores) == ((Choice(CONV, 0), Choice(POOL, 1)),)


def test_a_negative_limit_is_refused():
    with pytest.raises(ValueError, match='limit must be 0 or more skip connections, not -1'):
        MaxSkips(limit=-1)
