"""The concrete distribution against its definition and its limits."""

import pytest
import torch

from nni_wcnas.contracts import Moment
from nni_wcnas.relaxation import GumbelSoftmax

ALPHA = torch.tensor([[0.0, 1.0, -1.0, 2.0]], dtype=torch.float64)


def draws(member, moment, count):
    """Rows share a generator, so many rows are many draws."""
    return member.weights(ALPHA.repeat(count, 1), moment)


def test_temperature_at_both_ends_and_between():
    member = GumbelSoftmax(initial_temperature=8.0, final_temperature=2.0)
    assert [member.temperature(Moment(epoch, 5)) for epoch in range(5)] == [8.0, 6.5, 5.0, 3.5, 2.0]
    assert member.temperature(Moment(0, 1)) == 8.0, 'a stage of one epoch does not cool'


def test_against_the_definition():
    """Noise is what is left of the logarithm of the weights, and is the same at every temperature."""
    noises = []
    for temperature in (0.7, 3.0):
        weights = draws(GumbelSoftmax(temperature, temperature), Moment(seed=5), 3)
        noises.append(weights.log() * temperature - ALPHA.log_softmax(-1))
    differences = [noise - noise[:, :1] for noise in noises]
    torch.testing.assert_close(*differences, rtol=0, atol=1e-10)
    exponential = torch.empty(3, 4, dtype=torch.float64).exponential_(generator=Moment(seed=5).generator('cpu'))
    noise = -exponential.log()
    torch.testing.assert_close(differences[0], noise - noise[:, :1], rtol=0, atol=1e-10)


def test_cold_rows_are_one_hot_with_the_probabilities_of_softmax():
    weights = draws(GumbelSoftmax(), Moment(49, 50), 100_000)
    assert (weights.max(-1).values > 0.99).double().mean() > 0.75
    counted = weights.argmax(-1).bincount(minlength=4) / 100_000
    torch.testing.assert_close(counted.double(), ALPHA[0].softmax(-1), rtol=0, atol=5e-3)


def test_hot_rows_are_nearly_uniform():
    weights = draws(GumbelSoftmax(initial_temperature=200.0), Moment(0, 50), 1000)
    assert (weights - 0.25).abs().max() < 0.03


def test_gradient_against_finite_differences():
    member, moment = GumbelSoftmax(), Moment(3, 5, seed=1)
    assert torch.autograd.gradcheck(lambda alpha: member.weights(alpha, moment), ALPHA.clone().requires_grad_())
    assert torch.autograd.gradgradcheck(lambda alpha: member.weights(alpha, moment), ALPHA.clone().requires_grad_())


def test_hard_is_the_largest_of_the_same_sample():
    """At any temperature, so that each operation is drawn with its probability."""
    for moment in (Moment(0, 50), Moment(49, 50)):
        hard, soft = (draws(GumbelSoftmax(hard=hard), moment, 100_000) for hard in (True, False))
        assert hard.equal(torch.nn.functional.one_hot(soft.argmax(-1), 4).double())
        torch.testing.assert_close(hard.mean(0), ALPHA[0].softmax(-1), rtol=0, atol=5e-3)


@pytest.mark.parametrize('epoch', [0, 4])
def test_gradient_of_hard_is_that_of_the_drawn_weight(epoch):
    """By hand: d w_h / d alpha_k = w_h ((h = k) - w_k) / temperature, times what the drawn operation is worth."""
    member, moment = GumbelSoftmax(hard=True), Moment(epoch, 5, seed=1)
    alpha = ALPHA.repeat(6, 1).requires_grad_()
    worth = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (member.weights(alpha, moment) * worth).sum().backward()
    soft = GumbelSoftmax().weights(alpha.detach(), moment)
    for row, found in enumerate(alpha.grad.tolist()):
        h = int(soft[row].argmax())
        for k, slope in enumerate(found):
            by_hand = soft[row, h] * (float(h == k) - soft[row, k]) / member.temperature(moment) * worth[row, h]
            assert slope == pytest.approx(by_hand.item(), abs=1e-12)
    assert member.is_sparse and not GumbelSoftmax().is_sparse


@pytest.mark.parametrize('name', ['initial_temperature', 'final_temperature'])
@pytest.mark.parametrize('value', [0.0, -1.0, float('nan'), float('inf')])
def test_refused(name, value):
    with pytest.raises(ValueError, match=f'{name} must be positive and finite, as 10 or 0.1, not {value}'):
        GumbelSoftmax(**{name: value})


def test_a_selection_sees_the_softmax_without_noise():
    found = GumbelSoftmax(hard=True).strengths(ALPHA, Moment(seed=3))
    torch.testing.assert_close(found, ALPHA.softmax(-1), rtol=1e-12, atol=0)
