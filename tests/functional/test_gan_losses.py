from __future__ import annotations

import torch

from nni_wcnas.functional.gan_losses import discriminator_hinge, generator_hinge


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
