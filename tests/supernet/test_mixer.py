"""Weights of what is there, of what was taken out, and of what stands in for the relaxation."""

import itertools
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from nni_wcnas.contracts import Moment
from nni_wcnas.relaxation import Dirichlet, GumbelSoftmax, Softmax
from nni_wcnas.supernet import Clock
from nni_wcnas.supernet.mixer import Mixer, MixingWeights

PRUNED, DROPPED = {(0, 1), (2, 0), (2, 3)}, {1}


@pytest.fixture
def alpha() -> Tensor:
    """Logits of four edges with four candidates each."""
    return torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)


@pytest.fixture
def mixer() -> Mixer:
    """A softmax that lost some candidates and an edge."""
    found = Mixer(Softmax(), Clock(), 'normal')
    found.pruned |= PRUNED
    found.dropped |= DROPPED
    return found


def by_loops(alpha: Tensor, without: Iterable[tuple[int, int]] = ()) -> Tensor:
    """Softmax over what was not pruned; zero for what has no weight."""
    found = torch.zeros_like(alpha)
    for row in range(len(alpha)):
        left = [column for column in range(alpha.shape[1]) if (row, column) not in PRUNED]
        total = sum(alpha[row, column].exp() for column in left)
        for column in left:
            if row not in DROPPED and (row, column) not in without:
                found[row, column] = alpha[row, column].exp() / total
    return found.detach()


def test_pruned_and_dropped_against_loops(mixer, alpha):
    torch.testing.assert_close(mixer.weights(alpha), by_loops(alpha), rtol=0, atol=1e-12)
    torch.testing.assert_close(mixer.strengths(alpha), by_loops(alpha), rtol=0, atol=1e-12)
    assert mixer.weights(alpha)[0, 1] == 0 and not mixer.weights(alpha)[1].any()


def test_what_was_taken_out_has_no_gradient_and_the_others_have(mixer, alpha):
    noise = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((mixer.weights(alpha) * noise).sum(), alpha)
    gone = torch.tensor([[row in DROPPED or (row, column) in PRUNED for column in range(4)] for row in range(4)])
    assert gradient.isfinite().all() and not gradient[gone].any() and gradient[~gone].all()


@pytest.mark.parametrize('weighting', [Softmax(), GumbelSoftmax(), Dirichlet()], ids=lambda w: type(w).__name__)
def test_each_relaxation_gives_the_rest_all_the_weight(weighting, alpha):
    mixer = Mixer(weighting, Clock(), 'normal')
    mixer.pruned |= PRUNED
    weights = mixer.weights(alpha)
    torch.testing.assert_close(weights.sum(1), torch.ones(4, dtype=torch.float64))
    for row, column in itertools.product(range(4), range(4)):
        assert (weights[row, column] == 0) == ((row, column) in PRUNED)
    gradient = torch.autograd.grad(weights.square().sum(), alpha)[0]
    assert gradient.isfinite().all() and not any(gradient[pair] for pair in PRUNED)


def test_without_leaves_the_weights_of_the_others(mixer, alpha):
    without = {(0, 0), (3, 1), (3, 2), (1, 1), (0, 1)}
    before = mixer.weights(alpha)
    with mixer.without(without):
        torch.testing.assert_close(mixer.weights(alpha), by_loops(alpha, without), rtol=0, atol=1e-12)
        torch.testing.assert_close(mixer.strengths(alpha), by_loops(alpha), rtol=0, atol=1e-12)
        with mixer.without(()):
            assert mixer.weights(alpha).equal(before)
        assert mixer.weights(alpha)[0, 0] == 0
    assert mixer.weights(alpha).equal(before)


def test_contexts_end_when_an_error_passes(mixer, alpha):
    before = mixer.weights(alpha)
    with pytest.raises(KeyError), mixer.without({(0, 0)}), mixer.holding(torch.ones(4, 4)):
        raise KeyError
    assert mixer.weights(alpha).equal(before)


def test_held_weights_are_used_whatever_the_logits(mixer, alpha):
    inner, outer = torch.rand(4, 4), torch.rand(4, 4)
    with mixer.holding(outer):
        with mixer.holding(inner):
            assert mixer.weights(alpha) is inner
        assert mixer.weights(alpha + 1) is outer
        assert mixer.strengths(alpha).allclose(by_loops(alpha)), 'a selection sees the architecture itself'


def test_absent_is_what_need_not_be_computed(mixer):
    row = {(1, column) for column in range(4)}
    assert mixer.absent(4) == PRUNED | row
    with mixer.without({(3, 3)}):
        assert mixer.absent(4) == PRUNED | row | {(3, 3)}
    assert mixer.absent(4) == PRUNED | row


def test_silent_rows_have_no_candidate_left(mixer):
    assert mixer.silent(4) == []
    with mixer.without({(0, 0), (0, 2), (0, 3), (2, 1), (3, 0)}):
        assert mixer.silent(4) == [0], 'the fourth was pruned before'
    with mixer.without((row, column) for row in (3, 2) for column in range(4)):
        assert mixer.silent(4) == [2, 3]


def test_logits_that_lost_nothing_are_passed_on(alpha):
    assert Mixer(Softmax(), Clock(), 'normal').masked(alpha) is alpha


def test_a_moment_and_a_label_are_one_draw(alpha):
    clock = Clock()
    normal, again, reduce = (Mixer(GumbelSoftmax(), clock, label) for label in ('normal', 'normal', 'reduce'))
    clock.moment = Moment(seed=3)
    first = normal.weights(alpha)
    assert again.weights(alpha).equal(first) and not reduce.weights(alpha).allclose(first)
    assert normal.moment == Moment(seed=3).of('normal') != reduce.moment
    clock.moment = Moment(seed=4)
    assert not normal.weights(alpha).allclose(first)


def test_nothing_is_drawn_at_rest():
    """A single choice tells its probabilities then, and its draws again afterwards."""
    weights, alpha = MixingWeights(GumbelSoftmax(hard=True), Clock(), 'choice'), torch.tensor([0.0, 1.0, 2.0])
    drawn = weights(alpha)
    with weights.mixer.clock.at_rest():
        torch.testing.assert_close(weights(alpha), alpha.softmax(0))
    assert weights(alpha).equal(drawn) and drawn.unique().tolist() == [0, 1]
    with pytest.raises(KeyError), weights.mixer.clock.at_rest():
        raise KeyError
    assert weights(alpha).equal(drawn)


def test_softmax_module_of_single_choices():
    weights = MixingWeights(Softmax(), Clock(), 'choice')
    alpha = torch.tensor([0.0, 1.0, 2.0])
    assert weights(alpha).equal(alpha.softmax(0)) and weights.mixer.label == 'choice'
    weights.mixer.pruned.add((0, 2))
    torch.testing.assert_close(weights(alpha), torch.tensor([*alpha[:2].softmax(0), 0.0]))


def test_held_weights_lose_what_is_left_out_as_well(mixer, alpha):
    held = torch.rand(4, 4, dtype=torch.float64)
    with mixer.holding(held), mixer.without({(0, 2), (3, 3)}):
        found = mixer.weights(alpha)
    with mixer.without({(0, 2), (3, 3)}), mixer.holding(held):
        assert torch.equal(mixer.weights(alpha), found)
    expected = held.clone()
    expected[0, 2] = expected[3, 3] = 0
    assert torch.equal(found, expected)
    with mixer.holding(held):
        assert torch.equal(mixer.weights(alpha), held)
