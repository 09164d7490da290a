"""PR-DARTS's gates and regulariser against loops over scalars."""

import math
from dataclasses import replace

import pytest
import torch

from nni_wcnas.contracts import CellLayout, Moment
from nni_wcnas.relaxation import HardConcrete

OPERATIONS = ('none', 'skip_connect', 'max_pool_3x3', 'avg_pool_3x3', 'sep_conv_3x3', 'dil_conv_3x3')
LAYOUT = CellLayout(OPERATIONS, num_nodes=3)  # edges 0-1, 2-4, 5-8; the path is 1, 4, 8


def logits(rows=9, columns=6, scale=1.0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * scale


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def by_hand(member, alpha, layout, moment):
    """The regulariser's half for one type of cell, from the weights that it belongs to."""
    chosen = member.weights(alpha, moment)
    names = [*layout.operations, 'none'][: alpha.shape[1]]
    temperature = member.temperature(moment)
    p = [[sigmoid(a - temperature * math.log(-member.low / member.high)) for a in row] for row in alpha.tolist()]
    groups = {'skip': [], 'pool': [], 'other': []}
    for edge in range(len(alpha)):
        for k, name in enumerate(names):
            if chosen[edge, k]:
                group = 'skip' if name == 'skip_connect' else 'pool' if 'pool' in name else 'other'
                groups[group].append(p[edge][k])
    cost = {name: max(sum(found) / len(found) - member.margin, 0) if found else 0 for name, found in groups.items()}
    path, product = False, 1.0
    for edge in [i for i, (source, target) in enumerate(layout.edges) if source == target - 1]:
        found = [p[edge][k] for k, name in enumerate(names) if 'conv' in name and chosen[edge, k]]
        if found:
            path, product = True, product * sum(found) / len(found)
    total = member.skip_weight * cost['skip'] + member.group_weight * (cost['pool'] + cost['other'])
    return (total - member.path_weight * product * path) / 2


def test_temperature_at_both_ends_and_between():
    assert HardConcrete().temperature(Moment(0, 50)) == 10.0 and HardConcrete().temperature(Moment(49, 50)) == 0.1
    member = HardConcrete(initial_temperature=1.0, final_temperature=3.0)
    assert [member.temperature(Moment(epoch, 3)) for epoch in range(3)] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize('active', [1, 2, 3])
def test_weights_are_exactly_zero_or_one(active):
    for seed in range(20):
        weights = HardConcrete(active=active).weights(logits().requires_grad_(), Moment(seed % 5, 5, seed=seed))
        assert set(weights.unique().tolist()) == {0.0, 1.0}
        assert weights.sum(-1).tolist() == [active] * 9


def test_the_largest_gates_win_and_carry_the_gradient():
    """Without knock-outs; warm enough for no gate to be clamped, as ties would be broken at random."""
    member, moment = HardConcrete(dropout=0.0, low=-1e-6, high=1 + 1e-6), Moment(0, 2, seed=3)
    alpha = logits().requires_grad_()
    weights = member.weights(alpha, moment)
    u = torch.rand(3, 9, 6, generator=moment.generator('cpu'), dtype=torch.float64)[0]
    stretched = [[sigmoid((a + math.log(v) - math.log(1 - v)) / 10) for a, v in zip(*rows)]
                 for rows in zip(alpha.tolist(), u.tolist())]
    factors = torch.randn(9, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (weights * factors).sum().backward()
    for edge, row in enumerate(stretched):
        best = sorted(range(6), key=lambda k: -row[k])[:2]
        assert weights[edge].nonzero().flatten().tolist() == sorted(best)
        for k in range(6):
            slope = row[k] * (1 - row[k]) / 10 * (member.high - member.low) if k in best else 0.0
            assert alpha.grad[edge, k].item() == pytest.approx(slope * factors[edge, k].item(), abs=1e-12)


def test_saturated_gates_tie_at_random():
    alpha = torch.tensor([[50.0, 50.0, 50.0, -50.0]] * 30_000, dtype=torch.float64)
    counted = HardConcrete(dropout=0.0).weights(alpha, Moment(1, 2)).mean(0)
    torch.testing.assert_close(counted, torch.tensor([2 / 3, 2 / 3, 2 / 3, 0.0]).double(), rtol=0, atol=0.01)


def test_the_knocked_out_are_chosen_for_want_of_others_only():
    """The best of three is chosen unless it is knocked out and another is not: 1 - .4 (1 - .4^2) with one active."""
    alpha = torch.tensor([[50.0, -50.0, -50.0]] * 60_000, dtype=torch.float64)
    counted = HardConcrete(active=1).weights(alpha, Moment(1, 2)).mean(0)
    first = 0.6 + 0.4**3 / 3
    torch.testing.assert_close(counted, torch.tensor([first, (1 - first) / 2, (1 - first) / 2]).double(), rtol=0,
                               atol=0.01)
    never = HardConcrete(active=1, dropout=0.0).weights(alpha, Moment(1, 2)).mean(0)
    assert never.tolist() == [1.0, 0.0, 0.0]


def test_pruned_candidates_are_never_chosen_whoever_else_is_knocked_out():
    alpha = torch.tensor([[-torch.inf, 0.0, -torch.inf, -5.0], [-torch.inf, -torch.inf, 1.0, -torch.inf]])
    weights = torch.stack([HardConcrete(dropout=0.9).weights(alpha, Moment(seed=seed)) for seed in range(100)])
    assert weights.unique(dim=0).tolist() == [[[0, 1, 0, 1], [0, 0, 1, 0]]]


@pytest.mark.parametrize('epoch', [0, 2, 4])
@pytest.mark.parametrize('hidden', [False, True], ids=['explicit none', 'hidden none'])
def test_penalty_against_loops(hidden, epoch):
    layout = replace(LAYOUT, operations=OPERATIONS[1:]) if hidden else LAYOUT
    found = []
    for seed in range(15):
        member, moment = HardConcrete(skip_weight=0.7, group_weight=0.4, path_weight=0.3), Moment(epoch, 5, seed=seed)
        found.append(member.penalty(logits(scale=2.0), layout, moment).item())
        assert found[-1] == pytest.approx(by_hand(member, logits(scale=2.0), layout, moment), abs=1e-12)
    assert len(set(found)) > 1, 'it is of the gates that were drawn'


def test_penalty_worked_by_hand():
    """One node of two edges; all but two operations of each are pruned, and p(0) = sigmoid(log 11) = 11/12 at
    temperature 1: skip and convolution on edge 0, pool and convolution on edge 1, which is the path."""
    layout = CellLayout(OPERATIONS, num_nodes=1)
    alpha = torch.full((2, 6), -torch.inf, dtype=torch.float64)
    alpha[0, [1, 4]] = torch.tensor([0.0, math.log(2 / 11)], dtype=torch.float64)  # p = 11/12 and 2/3
    alpha[1, [3, 5]] = torch.tensor([math.log(1 / 22), 0.0], dtype=torch.float64)  # p = 1/3 and 11/12
    member = HardConcrete(initial_temperature=1.0, skip_weight=1.0, group_weight=10.0, path_weight=100.0)
    skip, pool, other = 11 / 12 - 0.2, 1 / 3 - 0.2, (2 / 3 + 11 / 12) / 2 - 0.2
    expected = (skip + 10 * (pool + other) - 100 * 11 / 12) / 2
    assert member.penalty(alpha, layout, Moment()).item() == pytest.approx(expected, abs=1e-9)
    lenient = replace(member, margin=0.5, path_weight=0.0)  # the pools are below the margin
    expected = (skip - 0.3 + 10 * (other - 0.3)) / 2
    assert lenient.penalty(alpha, layout, Moment()).item() == pytest.approx(expected, abs=1e-9)


def test_path_is_a_product_over_the_edges_that_chose_a_convolution():
    alpha = torch.full((9, 6), -torch.inf, dtype=torch.float64)
    alpha[:, 1] = 0.0
    member = HardConcrete(1.0, skip_weight=0.0, group_weight=0.0, path_weight=1.0)
    assert member.penalty(alpha, LAYOUT, Moment()) == 0, 'no convolution, no reward'
    alpha[:, 4] = torch.linspace(-3, 1, 9, dtype=torch.float64)
    p = [sigmoid(a + math.log(11)) for a in alpha[:, 4].tolist()]
    assert member.penalty(alpha, LAYOUT, Moment()).item() == pytest.approx(-p[1] * p[4] * p[8] / 2, abs=1e-12)
    alpha[4, 4] = -torch.inf
    assert member.penalty(alpha, LAYOUT, Moment()).item() == pytest.approx(-p[1] * p[8] / 2, abs=1e-12)


def test_gradient_of_the_penalty():
    member, moment = HardConcrete(skip_weight=0.7, group_weight=0.4, path_weight=0.3), Moment(2, 5, seed=1)
    alpha = logits().requires_grad_()
    assert torch.autograd.gradcheck(lambda alpha: member.penalty(alpha, LAYOUT, moment), alpha)
    (found,) = torch.autograd.grad(member.penalty(alpha, LAYOUT, moment), alpha)
    chosen = member.weights(alpha, moment) > 0
    assert not found[~chosen].any() and found[chosen].any()


@pytest.mark.parametrize('changed', [
    {'skip_weight': 0.5}, {'group_weight': 0.5}, {'path_weight': 0.5}, {'margin': 0.0}, {'low': -0.3}, {'high': 1.5},
    {'dropout': 0.0}, {'active': 3}, {'initial_temperature': 1.0},
], ids=str)
def test_each_option_changes_what_it_claims(changed):
    alpha, moment, plain = logits(), Moment(0, 2, seed=2), HardConcrete()
    other = replace(plain, **changed)
    assert other.penalty(alpha, LAYOUT, moment) != plain.penalty(alpha, LAYOUT, moment)
    draws = 'dropout' in changed or 'active' in changed
    assert other.weights(alpha, moment).equal(plain.weights(alpha, moment)) != draws


def test_without_charges_nothing_is_penalised():
    member = HardConcrete(skip_weight=0.0, group_weight=0.0, path_weight=0.0)
    assert not member.is_penalised and member.penalty(logits(), LAYOUT, Moment()) == 0


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'initial_temperature': 0.0}, 'initial_temperature must be positive and finite'),
    ({'final_temperature': float('nan')}, 'final_temperature must be positive and finite'),
    ({'low': 0.0}, 'low must be below 0 and finite, as -0.1, not 0.0'),
    ({'high': 1.0}, 'high must be above 1 and finite, as 1.1, not 1.0'),
    ({'dropout': 1.0}, 'dropout must be at least 0 and below 1, not 1.0'),
    ({'active': 0}, 'active must be at least 1 operation, not 0'),
    ({'margin': -0.1}, 'margin must be 0 or more and finite, not -0.1'),
    ({'path_weight': float('inf')}, 'path_weight must be 0 or more and finite'),
], ids=str)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HardConcrete(**arguments)


def test_a_selection_sees_the_softmax_without_noise():
    found = HardConcrete().strengths(logits(), Moment(seed=3))
    torch.testing.assert_close(found, logits().softmax(-1), rtol=1e-12, atol=0)


def test_two_candidates_that_are_left_of_a_pruned_edge_are_both_taken():
    alpha = logits()
    alpha[0, 2:] = -torch.inf
    for seed in range(5):
        assert HardConcrete().weights(alpha, Moment(seed=seed))[0].tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
