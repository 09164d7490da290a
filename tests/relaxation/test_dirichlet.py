"""DrNAS's relaxation: which distribution, and what the anchor costs."""

import pytest
import torch
from torch import distributions

from nni_wcnas.contracts import CellLayout, Moment
from nni_wcnas.relaxation import Dirichlet

LAYOUT = CellLayout(('a', 'b', 'c'), num_nodes=1)
ALPHA = torch.tensor([[0.0, -1.0, 2.0], [0.5, 0.5, -3.0]], dtype=torch.float64)
BETA = torch.nn.functional.elu(ALPHA) + 1


def test_mean_of_the_weights_and_of_their_gradient():
    alpha = ALPHA.clone().requires_grad_()
    mean = Dirichlet().weights(alpha.repeat(100_000, 1), Moment(seed=1)).view(-1, 2, 3).mean(0)
    torch.testing.assert_close(mean, BETA / BETA.sum(-1, keepdim=True), rtol=0, atol=4e-3)
    (found,) = torch.autograd.grad(mean[:, 2].sum(), alpha)
    step = torch.zeros_like(ALPHA)
    for entry in range(6):
        step.zero_().view(-1)[entry] = 1e-5
        ends = [torch.nn.functional.elu(ALPHA + sign * step) + 1 for sign in (1, -1)]
        means = [(beta / beta.sum(-1, keepdim=True))[:, 2].sum() for beta in ends]
        assert found.view(-1)[entry].item() == pytest.approx((means[0] - means[1]).item() / 2e-5, abs=3e-3)


def test_the_divergence_of_all_edges_is_the_penalty():
    uniform = distributions.Dirichlet(torch.ones_like(BETA))
    expected = distributions.kl_divergence(distributions.Dirichlet(BETA), uniform).sum()
    found = Dirichlet(anchor='kl', scale=0.01).penalty(ALPHA, LAYOUT, Moment())
    torch.testing.assert_close(found, 0.01 * expected, rtol=1e-12, atol=0)
    assert Dirichlet(anchor='kl').penalty(torch.zeros_like(ALPHA), LAYOUT, Moment()).abs() < 1e-15
    alpha = torch.full((1, 3), 0.1, dtype=torch.float64, requires_grad=True)
    Dirichlet(anchor='kl').penalty(alpha, LAYOUT, Moment()).backward()
    assert (alpha.grad > 0).all(), 'pulls back to zero'


def test_weight_decay_needs_no_penalty():
    assert not Dirichlet().is_penalised and Dirichlet(anchor='kl').is_penalised
    assert Dirichlet().penalty(ALPHA, LAYOUT, Moment()) == 0
    with pytest.raises(ValueError, match="scale=5.0 does nothing with anchor='l2'"):
        Dirichlet(scale=5.0)
    assert Dirichlet().weights(ALPHA, Moment()).equal(Dirichlet(anchor='kl').weights(ALPHA, Moment()))


def test_refused():
    with pytest.raises(ValueError, match=r"anchor must be 'l2' \(weight decay\) or 'kl' \(a penalty\), not 'l1'"):
        Dirichlet(anchor='l1')
    for scale in (0.0, -1.0, float('nan')):
        with pytest.raises(ValueError, match=f"be positive and finite, or anchor be 'l2' for no penalty, not {scale}"):
            Dirichlet(anchor='kl', scale=scale)


def test_a_selection_sees_the_softmax_without_noise():
    torch.testing.assert_close(Dirichlet().strengths(ALPHA, Moment(seed=3)), ALPHA.softmax(-1), rtol=1e-12, atol=0)
