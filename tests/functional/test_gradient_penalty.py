from __future__ import annotations

import torch

from nni_wcnas.functional.gradient_penalty import squared_slope


def test_of_a_linear_critic_is_the_squared_length_of_its_weights():
    weights = torch.randn(3 * 4 * 4, dtype=torch.float64, requires_grad=True)
    images = torch.randn(5, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    penalty = squared_slope(images.flatten(1) @ weights, images)
    torch.testing.assert_close(penalty, weights.square().sum())
    torch.testing.assert_close(torch.autograd.grad(penalty, weights)[0], 2 * weights)


def test_of_a_quadratic_critic_is_the_mean_over_the_batch():
    images = torch.randn(5, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    penalty = squared_slope(images.square().sum(dim=(1, 2, 3)), images)
    torch.testing.assert_close(penalty, 4 * images.square().sum() / 5)


def test_of_scores_that_do_not_depend_on_the_images_is_zero():
    images, constant = torch.randn(2, 3, 4, 4, requires_grad=True), torch.ones(2, requires_grad=True)
    assert squared_slope(constant * 2, images) == 0
