"""Orthogonal regularisation against the published gradient."""

import torch

from nni_wcnas.functional.orthogonality import orthogonality


def test_gradient_is_that_of_the_published_code():
    kernels = [torch.randn(4, 3, dtype=torch.float64), torch.randn(5, 2, 3, 3, dtype=torch.float64)]
    leaves = [kernel.clone().requires_grad_() for kernel in kernels]
    found = torch.autograd.grad(orthogonality(leaves), leaves)
    for kernel, gradient in zip(kernels, found, strict=True):
        rows = kernel.flatten(1)
        expected = 2 * ((rows @ rows.T) * (1 - torch.eye(len(rows), dtype=torch.float64))) @ rows
        torch.testing.assert_close(gradient.flatten(1), expected)


def test_right_angles_cost_nothing():
    assert orthogonality([3 * torch.eye(4)]) == 0
