"""The depthwise convolution and its derivatives against torch's own."""

import pytest
import torch
from torch.nn import functional as F

from nni_wcnas.functional.convolution import Geometry, convolution, depthwise
from nni_wcnas.functional.depthwise import input_gradient, weight_gradient

GEOMETRIES = [  # kernel, stride, padding, dilation: those of the spaces, and some of none
    (3, 1, 1, 1), (5, 1, 2, 1), (7, 1, 3, 1), (3, 1, 2, 2), (5, 1, 4, 2),
    (3, 2, 1, 1), (5, 2, 2, 1), (3, 2, 2, 2), (5, 2, 4, 2), (5, 1, 0, 1), (3, 1, 3, 1), (5, 1, 2, 2), (3, 3, 1, 1),
    (2, 1, 1, 2), (4, 1, 3, 2), (2, 2, 0, 2),
]  # fmt: skip


@pytest.fixture(params=[(2, 3, 9), (1, 4, 8)], ids=['odd', 'even, one image'])
def shape(request):
    count, channels, size = request.param
    return count, channels, size, size


def _arguments(shape, kernel, dtype):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    return x, torch.randn(shape[1], 1, kernel, kernel, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize(('kernel', 'stride', 'padding', 'dilation'), GEOMETRIES)
def test_derivatives(shape, kernel, stride, padding, dilation):
    x, weight = _arguments(shape, kernel, torch.float64)
    output = F.conv2d(x, weight, None, stride, padding, dilation, len(weight))
    arriving = torch.randn_like(output)
    to_x, to_weight = torch.autograd.grad(output, (x, weight), arriving)
    geometry = stride, padding, dilation
    torch.testing.assert_close(input_gradient(x.shape, weight, arriving, *geometry), to_x, rtol=0, atol=1e-12)
    torch.testing.assert_close(weight_gradient(x, weight.shape, arriving, *geometry), to_weight, rtol=0, atol=1e-12)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize(('kernel', 'stride', 'padding', 'dilation'), GEOMETRIES)
def test_is_torchs_convolution(shape, kernel, stride, padding, dilation, dtype):
    arguments = _arguments(shape, kernel, dtype)
    exact = [x.detach().double().requires_grad_() for x in arguments]
    output = depthwise(*arguments, stride=stride, padding=padding, dilation=dilation)
    expected = F.conv2d(*exact, None, stride, padding, dilation, shape[1])
    arriving = torch.randn_like(output)
    tolerance = {'rtol': 0, 'atol': 2e-5 if dtype == torch.float32 else 1e-12, 'check_dtype': False}
    torch.testing.assert_close(output, expected, **tolerance)
    pairs = zip(
        torch.autograd.grad(output, arguments, arriving), torch.autograd.grad(expected, exact, arriving.double()),
        strict=True,
    )  # fmt: skip
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, **tolerance)


@pytest.mark.parametrize(('kernel', 'stride', 'padding', 'dilation'), [(5, 1, 2, 1), (3, 1, 2, 2), (5, 2, 2, 1)])
def test_second_derivatives_of_the_fast_form(kernel, stride, padding, dilation):
    arguments = _arguments((2, 3, 6, 6), kernel, torch.float32)
    exact = [x.detach().double().requires_grad_() for x in arguments]
    found = []
    for x, weight in (arguments, exact):
        make = depthwise if x.dtype == torch.float32 else _torchs
        output = make(x, weight, stride=stride, padding=padding, dilation=dilation)
        assert ('_Convolution' in output.grad_fn.name()) == (x.dtype == torch.float32)
        first = torch.autograd.grad(output.pow(3).mean(), (x, weight), create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in first), (x, weight)))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5, check_dtype=False)


def _torchs(x, weight, *, stride, padding, dilation):
    return F.conv2d(x, weight, None, stride, padding, dilation, len(weight))


def test_a_constant_weight_costs_nothing(monkeypatch):
    x, weight = _arguments((1, 2, 5, 5), 5, torch.float32)
    monkeypatch.setattr('nni_wcnas.functional.depthwise.weight_gradient', None)
    with pytest.raises(TypeError):
        depthwise(x, weight, padding=2).sum().backward()
    (to_x,) = torch.autograd.grad(depthwise(x, weight.detach(), padding=2).sum(), (x,))
    assert to_x.shape == x.shape


@pytest.mark.parametrize('change', ['float64', 'plain layout', 'autocast'])
def test_where_torch_is_as_good_it_is_torch(change):
    x, weight = _arguments((2, 3, 6, 6), 5, torch.float64 if change == 'float64' else torch.float32)
    if change == 'plain layout':
        x = x.detach().contiguous().requires_grad_()
    with torch.autocast('cpu', torch.bfloat16, enabled=change == 'autocast'):
        output = depthwise(x, weight, padding=2)
    assert '_Convolution' not in output.grad_fn.name()
    assert output.dtype == (torch.bfloat16 if change == 'autocast' else x.dtype)
