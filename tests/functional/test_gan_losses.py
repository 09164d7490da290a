from __future__ import annotations

import torch
from torch.nn import functional

from nni_wcnas.functional.gan_losses import (
    discriminator_hinge,
    discriminator_logistic,
    generator_hinge,
    generator_logistic,
)


def test_against_plain_loops():
    torch.manual_seed(0)
    real, fake = torch.randn(6, dtype=torch.float64) * 2, torch.randn(4, dtype=torch.float64) * 2
    expected = sum(max(0.0, 1 - s) for s in real.tolist()) / 6 + sum(max(0.0, 1 + s) for s in fake.tolist()) / 4
    torch.testing.assert_close(discriminator_hinge(real, fake).item(), expected)
    torch.testing.assert_close(generator_hinge(fake).item(), -sum(fake.tolist()) / 4)


def test_no_gradient_beyond_the_margin():
    real, fake = torch.tensor([1.5, 0.5], requires_grad=True), torch.tensor([-1.5, 0.5], requires_grad=True)
    discriminator_hinge(real, fake).backward()
    assert real.grad.tolist() == [0, -0.5]
    assert fake.grad.tolist() == [0, 0.5]


def test_logistic_losses_are_cross_entropies_of_the_logits():
    torch.manual_seed(0)
    real, fake = torch.randn(6, dtype=torch.float64) * 2, torch.randn(4, dtype=torch.float64) * 2
    entropy = functional.binary_cross_entropy_with_logits
    expected = entropy(real, torch.ones_like(real)) + entropy(fake, torch.zeros_like(fake))
    torch.testing.assert_close(discriminator_logistic(real, fake), expected)
    torch.testing.assert_close(generator_logistic(fake), entropy(fake, torch.ones_like(fake)))


def test_logistic_losses_saturate_on_one_side_alone():
    sure = torch.tensor([-1000.0], requires_grad=True)
    assert torch.autograd.grad(generator_logistic(sure), sure)[0] == -1
    assert torch.autograd.grad(discriminator_logistic(-sure, sure), sure)[0] == 0
