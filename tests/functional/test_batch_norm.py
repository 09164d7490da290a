"""Batch norm against torch's own, in float64."""

import pytest
import torch
from torch.nn import functional as F

from nni_wcnas.functional.batch_norm import batch_norm

EPSILON = 1e-3


@pytest.fixture(params=[True, False], ids=['affine', 'plain'])
def arguments(request):
    torch.manual_seed(0)
    x = torch.randn(3, 4, 2, 5, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    affine = [torch.randn(4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    return [x, *affine] if request.param else [x]


def _ours(x, gain=None, bias=None):
    return batch_norm(x, gain, bias, EPSILON)[0]


def _torchs(x, gain=None, bias=None):
    return F.batch_norm(x, None, None, gain, bias, True, 0.0, EPSILON)


def test_values_and_derivatives_are_torchs(arguments):
    outputs = [function(*arguments) for function in (_ours, _torchs)]
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-12)
    arriving = torch.randn_like(outputs[0])
    for mine, theirs in zip(*(torch.autograd.grad(output, arguments, arriving) for output in outputs), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_second_derivatives_are_torchs(arguments):
    found = []
    for function in (_ours, _torchs):
        loss = function(*arguments).sin().sum()
        first = torch.autograd.grad(loss, arguments, create_graph=True)
        torch.manual_seed(1)
        total = sum((g * torch.randn_like(g)).sum() for g in first)
        found.append(torch.autograd.grad(total, arguments))
    for mine, theirs in zip(*found, strict=True):
        assert theirs.abs().max() > 1e-3
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11)


def test_second_derivatives_by_finite_differences(arguments):
    assert torch.autograd.gradgradcheck(_ours, arguments)


def test_of_the_gain_alone():
    x = torch.randn(3, 4, 2, 5, dtype=torch.float64)
    affine = [torch.randn(4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    found = []
    for function in (_ours, _torchs):
        (slope,) = torch.autograd.grad(function(x, *affine).square().sum(), affine[:1], create_graph=True)
        found += torch.autograd.grad(slope.square().sum(), affine[:1])
    torch.testing.assert_close(*found, rtol=1e-12, atol=0)


def test_a_product_by_three_passes_is_that_by_two(arguments):
    """The second pass is linear in what arrives, and may be differentiated in that; torch has no third derivatives."""
    x, scale = arguments[0], torch.randn(4, 1, 1, dtype=torch.float64, requires_grad=True)

    def loss():
        return _ours(x + scale * x.square(), *arguments[1:]).sin().sum()

    vector, dummy = torch.randn_like(x), torch.zeros_like(scale, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(), x, create_graph=True)
    (by_two,) = torch.autograd.grad(slope, scale, vector)
    (slope,) = torch.autograd.grad(loss(), scale, create_graph=True)
    (through,) = torch.autograd.grad(slope, x, dummy, create_graph=True)
    (by_three,) = torch.autograd.grad(through, dummy, vector)
    assert by_two.abs().max() > 1e-3
    torch.testing.assert_close(by_three, by_two, rtol=0, atol=1e-12)
