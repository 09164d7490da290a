"""Both rules on worked examples, ties included."""

import itertools

import pytest
import torch

from nni_wcnas import Magnitude
from nni_wcnas.contracts import CellLayout, CellScores, Choice
from nni_wcnas.errors import DivergedError

OPERATIONS = ('none', 'pool', 'skip', 'conv')


def _scores(rows, operations=OPERATIONS, nodes=1, kept=2):
    logits = torch.tensor(rows, dtype=torch.float64)
    return CellScores(logits, logits.softmax(-1), CellLayout(operations, 2, nodes, kept))


def test_official_rule_counts_none_in_the_softmax_and_nnis_rule_does_not():
    # Three edges into node 1 (rows 2-4). Row 2 has the largest raw logit but an even larger 'none'.
    rows = [[0, 0, 0, 0], [0, 0, 0, 0], [9, 5, 0, 0], [0, 0, 3, 0], [0, 0, 0, 2]]
    assert Magnitude().select(_scores(rows, nodes=2))[1] == (Choice('skip', 1), Choice('conv', 2))
    assert Magnitude(by='logit').select(_scores(rows, nodes=2))[1] == (Choice('pool', 0), Choice('skip', 1))


def test_the_example_on_which_the_rules_disagree():
    """Best softmax .018 / .28 / .39 on edges 0 / 1 / 2: by raw logits 0 and 2 stay, by the official rule 1 and 2."""
    rows = [[0] * 4] * 2 + [[8.0, 4.0, 0, 0], [1.0, 1.0, 0, 0], [2.0, 2.0, 1.0, 1.0]]
    assert {c.source for c in Magnitude(by='logit').select(_scores(rows, nodes=2))[1]} == {0, 2}
    assert {c.source for c in Magnitude().select(_scores(rows, nodes=2))[1]} == {1, 2}


def test_ties_keep_the_lower_source_and_the_first_operation_by_probability():
    rows = [[0, 1, 1, 1]] * 5
    assert Magnitude().select(_scores(rows, nodes=2))[1] == (Choice('pool', 0), Choice('pool', 1))


def test_ties_keep_the_higher_source_and_the_last_name_by_logit():
    """NNI sorts (value, source, name) downwards."""
    rows = [[0, 1, 1, 1]] * 5
    assert Magnitude(by='logit').select(_scores(rows, nodes=2))[1] == (Choice('skip', 2), Choice('skip', 1))


def test_none_is_never_selected_even_when_it_dominates():
    genotype = Magnitude().select(_scores([[50, 0, 1, 0], [50, 1, 0, 0]]))
    assert genotype == ((Choice('skip', 0), Choice('pool', 1)),)


def test_hidden_none_in_the_last_column_is_skipped():
    scores = _scores([[0, 1, 9], [1, 0, 9]], operations=('a', 'b'))
    assert Magnitude().select(scores) == ((Choice('b', 0), Choice('a', 1)),)
    assert Magnitude(by='logit').select(scores) == ((Choice('a', 1), Choice('b', 0)),)


def test_more_kept_edges_than_sources_repeats_a_source_with_its_next_operation():
    genotype = Magnitude().select(_scores([[0, 3, 2, 1], [0, 0, 0, 5]], kept=3))
    assert genotype == ((Choice('conv', 1), Choice('pool', 0), Choice('skip', 0)),)


@pytest.mark.parametrize('by', ['probability', 'logit'])
def test_against_brute_force(by):
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        scores = _scores(torch.randn(14, 4, generator=generator).tolist(), nodes=4)
        matrix = scores.probabilities if by == 'probability' else scores.logits
        for node, chosen in enumerate(Magnitude(by=by).select(scores)):
            edges = list(scores.layout.edges_into(node))
            best = {s: matrix[e, 1:].max().item() for s, e in enumerate(edges)}
            pairs = max(itertools.combinations(best, 2), key=lambda p: sorted((best[s] for s in p), reverse=True))
            assert {c.source for c in chosen} == set(pairs)
            for c in chosen:
                assert c.operation == OPERATIONS[1 + int(matrix[edges[c.source], 1:].argmax())]


@pytest.mark.parametrize('by', ['probability', 'logit'])
def test_nan_is_an_error(by):
    with pytest.raises(DivergedError, match='not finite.*diverged'):
        Magnitude(by=by).select(_scores([[0, 1, float('nan'), 0], [0, 0, 0, 0]]))


def test_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="'probability' or 'logit', not 'rank'"):
        Magnitude(by='rank')
