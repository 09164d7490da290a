"""AverageCase, first order and unrolled, against one differentiation through the unrolled step."""

import pytest
import torch
from toy import toy_step

from nni_wcnas import AverageCase, FirstOrder, Unrolled
from nni_wcnas.functional.hypergradient import lookahead


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ('hypergradient', 'tolerance'),
    [(Unrolled(), 1e-12), (Unrolled('finite_difference', 1e-4), 1e-7), (Unrolled('finite_difference'), 2e-5)],
    ids=str,
)
def test_unrolled(hypergradient, tolerance):
    step = toy_step(hypergradient)
    learner = step.learner
    ahead = lookahead(
        lambda p: learner.loss(*step.train[:2], p), learner.weights, create_graph=True, **vars(learner.sgd_step())
    )
    (expected,) = torch.autograd.grad(learner.loss(*step.val[:2], ahead), list(learner.alphas.values()))
    computed = AverageCase().architecture_step(step).alphas['alpha']
    torch.testing.assert_close(computed, expected, rtol=0, atol=tolerance)
    (direct,) = torch.autograd.grad(
        learner.loss(*step.val[:2], {n: w.detach() for n, w in ahead.items()}), list(learner.alphas.values())
    )
    assert (expected - direct).abs().max() > 1e-3, 'the indirect part must matter for this test to mean anything'


def test_radius_changes_the_difference_and_nothing_else():
    def alphas(**arguments):
        step = toy_step(Unrolled('finite_difference', **arguments))
        return AverageCase().architecture_step(step).alphas['alpha']

    assert torch.equal(alphas(), alphas(radius=0.01)) and not torch.equal(alphas(), alphas(radius=0.1))
    for arguments, message in (
        ({'by': 'exact', 'radius': 0.1}, "radius=0.1 does nothing with by='exact'"),
        ({'radius': 0.1}, "radius=0.1 does nothing with by='exact'"),
        ({'by': 'finite_difference', 'radius': -1.0}, 'radius must be positive'),
        ({'by': 'cg'}, "must be 'finite_difference' or 'exact', not 'cg'"),
    ):
        with pytest.raises(ValueError, match=message):
            Unrolled(**arguments)


def test_first_order_is_the_plain_gradient():
    step = toy_step(FirstOrder())
    (expected,) = torch.autograd.grad(step.learner.loss(*step.val[:2]), list(step.learner.alphas.values()))
    update = AverageCase().architecture_step(step)
    assert torch.equal(update.alphas['alpha'], expected)
    assert update.losses.keys() == {'A'} and torch.equal(update.losses['A'], step.learner.loss(*step.val[:2]).detach())


def test_every_is_validated():
    with pytest.raises(ValueError, match='every must be at least 1 batch, not 0'):
        AverageCase(every=0)
