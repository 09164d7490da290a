"""Gates against a formula of scalars, and their probability of being open against counting."""

import math

import pytest
import torch

from nni_wcnas.functional.hard_concrete import activation_probability, gates


def by_hand(alpha, u, temperature, low, high):
    logistic = 1 / (1 + math.exp(-(alpha + math.log(u) - math.log(1 - u)) / temperature))
    return min(1.0, max(0.0, logistic * (high - low) + low))


@pytest.mark.parametrize('ends', [(-0.1, 1.1), (-0.5, 1.3)])
@pytest.mark.parametrize('temperature', [10.0, 1.0, 0.3])
def test_against_scalars(temperature, ends):
    alpha = torch.randn(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    u = torch.rand(200, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = [by_hand(a, v, temperature, *ends) for a, v in zip(alpha.tolist(), u.tolist())]
    assert gates(alpha, u, temperature, *ends).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(('temperature', 'at_zero'), [(1.0, 0.917), (0.1, 0.560), (10.0, 1.0)])
def test_probability_of_an_open_gate(temperature, at_zero):
    alpha = torch.tensor([-2.0, -0.5, 0.0, 1.0], dtype=torch.float64)
    u = torch.rand(200_000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    counted = (gates(alpha, u, temperature) > 0).double().mean(0)
    probability = activation_probability(alpha, temperature)
    torch.testing.assert_close(counted, probability, rtol=0, atol=4e-3)
    assert probability[2].item() == pytest.approx(at_zero, abs=5e-4)


def test_clamped_gates_have_no_gradient_and_the_others_the_derivative():
    alpha = torch.tensor([-9.0, 0.4, 9.0, -torch.inf], dtype=torch.float64, requires_grad=True)
    u = torch.tensor([0.5, 0.3, 0.5, 0.5], dtype=torch.float64)
    found = gates(alpha, u, 0.7)
    assert found[[0, 2, 3]].tolist() == [0.0, 1.0, 0.0]
    found.sum().backward()
    difference = (by_hand(0.4 + 1e-6, 0.3, 0.7, -0.1, 1.1) - by_hand(0.4 - 1e-6, 0.3, 0.7, -0.1, 1.1)) / 2e-6
    assert alpha.grad.tolist() == pytest.approx([0.0, difference, 0.0, 0.0], abs=1e-8)


def test_the_ends_of_the_uniform_numbers_are_harmless():
    alpha = torch.zeros(2, requires_grad=True)
    found = gates(alpha, torch.tensor([0.0, 1 - 2**-24]), 1.0)
    assert found.tolist() == [0.0, 1.0]
    found.sum().backward()
    assert alpha.grad.tolist() == [0.0, 0.0]
