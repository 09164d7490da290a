"""Dense and depthwise convolutions and their derivatives against torch's own."""

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


DENSE = [  # kernel, stride, padding, dilation
    (1, 1, 0, 1), (3, 1, 1, 1), (5, 1, 2, 1), (3, 2, 1, 1), (3, 3, 0, 1), (1, 2, 0, 1), (3, 1, 2, 2), (3, 2, 4, 3),
    (2, 1, 1, 1), (4, 2, 3, 1), (3, 1, 3, 1), ((1, 3), (2, 1), (0, 1), (1, 2)), ((3, 2), (1, 3), (2, 0), (2, 1)),
]  # fmt: skip
dense = pytest.mark.parametrize('geometry', DENSE, ids=str)
layouts = pytest.mark.parametrize('layout', [torch.channels_last, torch.contiguous_format], ids=str)


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


# ---------------------------------------------------------------------------------------------------------------- dense


def _dense_arguments(kernel, layout, size=(7, 8)):
    torch.manual_seed(0)
    rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
    x = torch.randn(2, 3, *size, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    return x, torch.randn(4, 3, rows, columns, dtype=torch.float64, requires_grad=True)


def _wave(shape, phase):
    """The same numbers whatever the memory layout."""
    count = torch.Size(shape).numel()
    return torch.linspace(phase, phase + 7, count, dtype=torch.float64).sin().view(shape)


def _orders(output, inputs, orders):
    """Derivatives of each order: each one is that of the last ones' product with fixed numbers."""
    total, found = output.sin().sum(), []
    for order in range(1, orders + 1):
        slopes = torch.autograd.grad(total, inputs, create_graph=order < orders)
        total = sum((slope * _wave(slope.shape, order + position)).sum() for position, slope in enumerate(slopes))
        found += slopes
    return found


@layouts
@dense
def test_dense_values_and_derivatives_of_each_order(geometry, layout):
    kernel, *others = geometry
    arguments = _dense_arguments(kernel, layout)
    outputs = convolution(*arguments, Geometry(*others)), F.conv2d(arguments[0], arguments[1], None, *others)
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-12)
    for mine, theirs in zip(*(_orders(output, arguments, 3) for output in outputs), strict=True):
        assert theirs.abs().max() > 1e-3
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-11)


@dense
def test_dense_second_derivatives_by_finite_differences(geometry):
    kernel, *others = geometry
    arguments = _dense_arguments(kernel, torch.channels_last, size=(5, 6))
    assert torch.autograd.gradgradcheck(lambda *given: convolution(*given, Geometry(*others)), arguments)


@pytest.mark.parametrize('position', [0, 1], ids=['input', 'weight'])
def test_dense_second_derivatives_by_one_of_both(position):
    """The other one is a constant, as the input of a first layer or a weight that does not learn."""
    arguments = [value.detach() for value in _dense_arguments(3, torch.channels_last)]
    wanted = [arguments[position].requires_grad_()]
    outputs = convolution(*arguments, Geometry(2, 1)), F.conv2d(*arguments, None, 2, 1)
    for mine, theirs in zip(*(_orders(output, wanted, 2) for output in outputs), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11)


def test_dense_derivatives_of_a_gradient_alone():
    """The first derivative is linear in what arrives, and its derivative there is a convolution."""
    x, weight = _dense_arguments(3, torch.channels_last)
    arriving = _wave((2, 4, 7, 8), 0.5).requires_grad_()
    found = []
    for output in (convolution(x, weight, Geometry(1, 1)), F.conv2d(x, weight, None, 1, 1)):
        slopes = torch.autograd.grad(output, (x, weight), arriving, create_graph=True)
        total = sum((slope * _wave(slope.shape, 1)).sum() for slope in slopes)
        found.append(torch.autograd.grad(total, arriving))
    torch.testing.assert_close(*found, rtol=0, atol=1e-11)


@pytest.mark.parametrize(('kernel', 'stride', 'padding', 'dilation'), GEOMETRIES)
def test_depthwise_second_and_third_derivatives(shape, kernel, stride, padding, dilation):
    """In double precision, which the fast form is not chosen for."""
    arguments = _arguments(shape, kernel, torch.float64)
    numbers = stride, padding, dilation, shape[1]
    outputs = convolution(*arguments, Geometry(*numbers)), F.conv2d(*arguments, None, *numbers)
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-12)
    for mine, theirs in zip(*(_orders(output, arguments, 3) for output in outputs), strict=True):
        assert theirs.abs().max() > 1e-3
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize(('kernel', 'stride', 'padding', 'dilation'), GEOMETRIES)
def test_depthwise_second_derivatives_by_finite_differences(kernel, stride, padding, dilation):
    arguments = _arguments((2, 2, 5, 6), kernel, torch.float64)
    geometry = Geometry(stride, padding, dilation, 2)
    assert torch.autograd.gradgradcheck(lambda *given: convolution(*given, geometry), arguments)


@pytest.mark.parametrize(
    ('kernels', 'channels', 'geometry'),
    [
        ((4, 2, 3, 3), 4, Geometry(1, 1, 1, 2)),
        ((8, 1, 3, 3), 4, Geometry(2, 1, 1, 4)),
        ((4, 1, 1, 3), 4, Geometry((2, 1), (0, 1), (1, 1), 4)),
    ],
    ids=['two groups', 'two kernels a channel', 'oblong'],
)
def test_groups_that_are_not_depthwise(kernels, channels, geometry):
    torch.manual_seed(0)
    x = torch.randn(2, channels, 6, 7, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(kernels, dtype=torch.float64, requires_grad=True)
    outputs = convolution(x, weight, geometry), F.conv2d(x, weight, None, *geometry)
    arriving = torch.randn_like(outputs[0])
    mine, theirs = (torch.autograd.grad(output, (x, weight), arriving) for output in outputs)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)
    assert torch.autograd.gradgradcheck(lambda x, weight: convolution(x, weight, geometry), (x, weight))
