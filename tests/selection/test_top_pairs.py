"""Pairs on worked examples, ties included."""

import itertools

import pytest
import torch
from scores import OPERATIONS, scores_of

from nni_wcnas import TopPairs
from nni_wcnas.contracts import Choice


def test_two_pairs_of_one_edge():
    """Where Magnitude would take the second edge."""
    assert TopPairs().select(scores_of([[0, 4, 0, 5], [0, 0, 0, 0]])) == (
        (Choice('sep_conv_3x3', 0), Choice('max_pool_3x3', 0)),
    )


def test_none_counts_in_the_softmax_and_is_never_selected():
    genotype = TopPairs().select(scores_of([[9, 5, 0, 0], [0, 0, 1, 0]]))
    assert genotype == ((Choice('skip_connect', 1), Choice('max_pool_3x3', 1)),)


def test_ties_keep_the_lower_source_then_the_earlier_operation():
    rows = [[0, 1, 1, 1], [0, 1, 1, 1]]
    assert TopPairs().select(scores_of(rows)) == ((Choice('max_pool_3x3', 0), Choice('skip_connect', 0)),)


def test_against_brute_force():
    torch.manual_seed(0)
    for _ in range(30):
        scores = scores_of(torch.randn(14, 4).tolist(), nodes=4)
        for node, chosen in enumerate(TopPairs().select(scores)):
            edges = scores.layout.edges_into(node)
            pairs = itertools.product(range(len(edges)), range(1, 4))
            best = sorted(pairs, key=lambda pair: -scores.probabilities[edges[pair[0]], pair[1]])[:2]
            assert chosen == tuple(Choice(OPERATIONS[column], source) for source, column in best)


def test_a_cell_that_keeps_all_edges_keeps_one_operation_for_each():
    rows = [[3, 0, 0, 0], [0, 0, 0, 1], [0, 0, 2, 0]]
    layout = {'keeps_all_edges': True}
    scores = scores_of(rows, nodes=2, **layout)
    one = scores.layout.__class__(OPERATIONS, 1, 2, 2, keeps_all_edges=True)
    chosen = TopPairs().select(scores.__class__(scores.logits, scores.probabilities, one))
    assert chosen == ((Choice('none', 0),), (Choice('sep_conv_3x3', 0), Choice('skip_connect', 1)))


def test_divergence_is_said():
    with pytest.raises(ValueError, match='not finite'):
        TopPairs().select(scores_of([[0, float('nan'), 0, 0], [0] * 4]))
