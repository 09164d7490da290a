"""What all relaxations have in common: each that has a row in ``OPTIONS``, in each of its variants."""

import inspect
import itertools
import pickle
import typing

import pytest
import torch

from nni_wcnas import relaxation
from nni_wcnas.contracts import CellLayout, Moment
from nni_wcnas.options import OPTIONS


def variants(factory):
    """Every combination of a member's switches and named choices, with its other numbers as they are."""
    hints = typing.get_type_hints(factory.__init__)
    choices = {
        name: (False, True) if hints[name] is bool else typing.get_args(hints[name])
        for name in inspect.signature(factory).parameters
        if hints[name] is bool or typing.get_origin(hints[name]) is typing.Literal
    }
    return [factory(**dict(zip(choices, values))) for values in itertools.product(*choices.values())]


EVERY = [member for row in OPTIONS if row.axis == 'relaxation' for member in variants(row.factory)]
STOCHASTIC = [member for member in EVERY if member.is_stochastic]
LAYOUT = CellLayout(('none', 'max_pool_3x3', 'skip_connect', 'sep_conv_3x3'), num_nodes=2)
MOMENTS = [Moment(epoch, 10, seed=seed) for epoch in (0, 9) for seed in range(10)]


def identify(member):
    return repr(member)


def logits(dtype=torch.float64, pruned=()):
    alpha = torch.randn(5, 4, generator=torch.Generator().manual_seed(7), dtype=dtype)
    for row, column in pruned:
        alpha[row, column] = -torch.inf
    return alpha.requires_grad_()


@pytest.mark.parametrize('member', EVERY, ids=identify)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_shapes_dtypes_and_rows(member, dtype):
    for moment in MOMENTS:
        weights = member.weights(logits(dtype), moment)
        assert weights.shape == (5, 4) and weights.dtype == dtype and weights.requires_grad
        if member.on_simplex:
            torch.testing.assert_close(weights.sum(-1), torch.ones(5, dtype=dtype))
        assert (weights >= 0).all()
        strengths = member.strengths(logits(dtype), moment)
        assert strengths.dtype == dtype and strengths.equal(member.strengths(logits(dtype), MOMENTS[0]))
        # A larger logit is never a weaker candidate.
        assert (strengths.gather(1, logits(dtype).argsort(-1)).diff(dim=-1) >= 0).all()


@pytest.mark.parametrize('member', EVERY, ids=identify)
def test_pruned_candidates_have_no_weight_and_no_gradient(member):
    pruned = [(0, 0), (0, 2), (1, 3), (2, 0), (2, 1), (2, 3)]  # row 2 has one candidate left
    rows, columns = zip(*pruned)
    touched = torch.zeros(5, 4, dtype=torch.float64)
    for moment in MOMENTS:
        alpha = logits(pruned=pruned)
        weights = member.weights(alpha, moment)
        assert not weights[rows, columns].any()
        if member.on_simplex:
            assert weights[2, 2] == 1 and weights[0].sum().item() == pytest.approx(1)
        loss = (weights * torch.arange(20).view(5, 4)).sum() + member.penalty(alpha, LAYOUT, moment)
        loss = loss + (member.strengths(alpha, moment) * torch.arange(20).view(5, 4)).sum()
        loss.backward()
        assert not alpha.grad[rows, columns].any() and alpha.grad.isfinite().all()
        assert not member.strengths(alpha, moment)[rows, columns].any()
        touched += alpha.grad.abs()
    assert touched[[0, 0, 1, 1], [1, 3, 0, 2]].all()


@pytest.mark.parametrize('member', STOCHASTIC, ids=identify)
def test_draws_depend_on_the_seed_alone(member):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = member.weights(logits(), Moment(seed=3))
    assert torch.get_rng_state().equal(before), 'the global random state is left alone'
    torch.manual_seed(1)
    assert member.weights(logits(), Moment(seed=3)).equal(first)
    others = [member.weights(logits(), Moment(seed=seed)) for seed in range(4, 9)]
    assert not any(other.equal(first) for other in others)
    assert not member.weights(logits(), Moment(seed=3).of('reduce')).equal(first)
    assert member.strengths(logits(), Moment(seed=3)).equal(member.strengths(logits(), Moment(seed=4)))


@pytest.mark.parametrize('member', EVERY, ids=identify)
def test_second_derivatives_where_they_are_promised(member):
    alpha = logits()
    weights = member.weights(alpha, Moment(1, 2))
    (first,) = torch.autograd.grad(weights.square().sum(), alpha, create_graph=True)
    if member.is_twice_differentiable:
        (second,) = torch.autograd.grad(first.square().sum(), alpha)
        assert second.isfinite().all() and second.any()
    else:
        with pytest.raises(NotImplementedError):
            torch.autograd.grad(first.square().sum(), alpha)


@pytest.mark.parametrize('member', EVERY, ids=identify)
def test_penalties_are_where_they_are_announced(member):
    alpha = logits()
    penalties = [member.penalty(alpha, LAYOUT, moment) for moment in MOMENTS]
    assert all(penalty.shape == () and penalty.dtype == torch.float64 for penalty in penalties)
    assert any(penalty != 0 for penalty in penalties) == member.is_penalised


@pytest.mark.parametrize('member', EVERY, ids=identify)
def test_values(member):
    again = eval(repr(member), vars(relaxation))
    assert pickle.loads(pickle.dumps(member)) == member == again and hash(member) == hash(again)
    with pytest.raises(AttributeError):
        member.anything = 1
