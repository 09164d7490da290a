"""DARTS's relaxation, which has neither numbers nor randomness."""

import torch

from nni_wcnas.contracts import Moment
from nni_wcnas.relaxation import Softmax

ALPHA = torch.tensor([[0.0, 1.0, -2.0], [0.5, 0.5, 3.0]], dtype=torch.float64)


def test_the_same_at_any_moment():
    assert Softmax().weights(ALPHA, Moment(seed=1)).equal(Softmax().weights(ALPHA, Moment(3, 5, seed=2)))
    assert not Softmax.is_stochastic


def test_weights_are_the_softmax_and_a_selection_sees_them():
    expected = ALPHA.exp() / ALPHA.exp().sum(-1, keepdim=True)
    torch.testing.assert_close(Softmax().weights(ALPHA, Moment()), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(Softmax().strengths(ALPHA, Moment()), expected, rtol=1e-12, atol=0)
