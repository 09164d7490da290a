"""Each layer with a quick second backward pass against torch's own, in float64; what is replaced, and for how long."""

from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.second_pass import has_quick_second_pass, quick_second_pass

LAYERS = {
    'convolution': lambda: nn.Conv2d(4, 5, 3, padding=1, bias=False),
    'with a bias': lambda: nn.Conv2d(4, 5, 1),
    'strided': lambda: nn.Conv2d(4, 3, (3, 2), stride=(2, 1), padding=(1, 0)),
    'dilated': lambda: nn.Conv2d(4, 4, 3, padding=2, dilation=2),
    'norm': lambda: nn.BatchNorm2d(4, eps=1e-3, track_running_stats=False),
    'plain norm': lambda: nn.BatchNorm2d(4, affine=False, track_running_stats=False),
    'frozen norm': lambda: nn.BatchNorm2d(4),
    'hard-sigmoid': lambda: nn.Hardsigmoid(),
    'hard-sigmoid in place': lambda: nn.Hardsigmoid(inplace=True),
}
every_layer = pytest.mark.parametrize('name', LAYERS)


def _made(name):
    """The layer, its parameters drawn anew, and an input with values in every piece of the hard functions."""
    torch.manual_seed(0)
    layer = LAYERS[name]().double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    x = 3 * torch.randn(3, 4, 5, 6, dtype=torch.float64)
    return layer, x.contiguous(memory_format=torch.channels_last).requires_grad_()


def _ours(layer, x):
    with frozen_statistics(layer), quick_second_pass(layer):
        assert 'forward' in vars(layer)
        return layer(x)


def _torchs(layer, x):
    """With the hard function written out, as torch has no second derivatives of its own."""
    if isinstance(layer, nn.Hardsigmoid):
        return F.relu6(x + 3) / 6
    with frozen_statistics(layer):
        return layer(x)


def _derivatives(output, inputs):
    """First ones, and second ones of these."""
    torch.manual_seed(1)
    first = torch.autograd.grad(output.sin().sum(), inputs, create_graph=True)
    total = sum((slope * torch.randn(slope.shape, dtype=slope.dtype)).sum() for slope in first)
    return first, torch.autograd.grad(total, inputs)


@every_layer
def test_values_are_torchs(name):
    layer, x = _made(name)
    state = deepcopy(layer.state_dict())
    torch.testing.assert_close(_ours(layer, x), deepcopy(layer)(x.detach().clone()), rtol=0, atol=1e-12)
    assert all(value.equal(state[key]) for key, value in layer.state_dict().items()), 'a statistic moved'


@every_layer
def test_first_derivatives_are_torchs(name):
    layer, x = _made(name)
    inputs, found = [x, *layer.parameters()], []
    for output in (_ours(layer, x), layer(1 * x)):  # A copy, for those that write to their input.
        arriving = torch.linspace(-1, 2, output.numel(), dtype=torch.float64).sin().view_as(output)
        found.append(torch.autograd.grad(output, inputs, arriving))
    for mine, theirs in zip(*found, strict=True):
        assert theirs.abs().max() > 1e-3
        # torch multiplies by a sixth in single precision.
        torch.testing.assert_close(mine, theirs, rtol=5e-8 if 'sigmoid' in name else 0, atol=1e-12)


@every_layer
def test_second_derivatives_are_torchs(name):
    layer, x = _made(name)
    inputs = [x, *layer.parameters()]
    found = [_derivatives(function(layer, x), inputs) for function in (_ours, _torchs)]
    for mine, theirs in zip(found[0][0] + found[0][1], found[1][0] + found[1][1], strict=True):
        assert theirs.abs().max() > 1e-3
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11)


@every_layer
def test_second_derivatives_by_finite_differences(name):
    layer, x = _made(name)
    names = [key for key, _ in layer.named_parameters()]
    x = x[:2, :, :3, :4].detach().requires_grad_()

    def output(x, *parameters):
        with frozen_statistics(layer), quick_second_pass(layer):
            return functional_call(layer, dict(zip(names, parameters)), (x,))

    assert torch.autograd.gradgradcheck(output, [x, *layer.parameters()])


KNOTS = [-4.0, -3.0, -2.0, 0.0, 1.0, 3.0, 5.0]


def test_hard_sigmoid_at_and_between_its_kinks():
    x, layer = torch.tensor(KNOTS, dtype=torch.float64, requires_grad=True), nn.Hardsigmoid()
    output = _ours(layer, x)
    assert output.tolist() == pytest.approx([0, 0, 1 / 6, 1 / 2, 2 / 3, 1, 1], abs=1e-15)
    (first,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    assert first.tolist() == pytest.approx([0, 0, 1 / 6, 1 / 6, 1 / 6, 0, 0], abs=1e-15)
    (theirs,) = torch.autograd.grad(layer(x).sum(), x)
    torch.testing.assert_close(first, theirs, rtol=5e-8, atol=0)
    # Of its square: twice the square of the slope.
    (first,) = torch.autograd.grad(_ours(layer, x).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert second.tolist() == pytest.approx([0, 0, 1 / 18, 1 / 18, 1 / 18, 0, 0], abs=1e-15)


def test_torch_has_no_second_derivative_of_hard_sigmoid():
    """Else there would be no need to replace it."""
    x = torch.randn(3, requires_grad=True)
    (first,) = torch.autograd.grad(nn.Hardsigmoid()(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='not implemented'):
        torch.autograd.grad(first.sum(), x)


@pytest.mark.parametrize('inplace', [False, True])
def test_torchs_hard_swish_has_second_derivatives(inplace):
    layer = nn.Hardswish(inplace)

    def output(x):
        with quick_second_pass(layer):
            assert 'forward' not in vars(layer)
            return layer(1 * x)

    torch.manual_seed(0)
    assert torch.autograd.gradgradcheck(output, 3 * torch.randn(20, dtype=torch.float64, requires_grad=True))
    x = torch.tensor(KNOTS, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(output(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert first.tolist() == pytest.approx([0, 0, -1 / 6, 1 / 2, 5 / 6, 1, 1], abs=1e-15)
    assert second.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3, 0, 0], abs=1e-15)


def test_a_replaced_layer_writes_to_no_input():
    layer, x = _made('hard-sigmoid in place')
    before = x.detach().clone()
    _ours(layer, x)
    assert torch.equal(x, before)


class Unusual(nn.Conv2d):
    """A convolution with a forward pass of its own."""

    def forward(self, x):
        return super().forward(x) + 1


LEFT_ALONE = {
    'grouped': nn.Conv2d(4, 4, 3, groups=2),
    'depthwise': nn.Conv2d(4, 4, 3, groups=4),
    'reflecting': nn.Conv2d(4, 4, 3, padding=1, padding_mode='reflect'),
    'padding by name': nn.Conv2d(4, 4, 3, padding='same'),
    'one dimension': nn.Conv1d(4, 4, 3),
    'transposed': nn.ConvTranspose2d(4, 4, 3),
    'with a forward of its own': Unusual(4, 4, 3),
    'norm that keeps statistics': nn.BatchNorm2d(4),
    'norm in evaluation mode': nn.BatchNorm2d(4).eval(),
    'norm without statistics in evaluation mode': nn.BatchNorm2d(4, track_running_stats=False).eval(),
    'norm of rows': nn.BatchNorm1d(4, track_running_stats=False),
    'linear': nn.Linear(4, 4),
    'hard-swish': nn.Hardswish(),
}


@pytest.mark.parametrize('name', LEFT_ALONE)
def test_what_is_left_alone(name):
    layer = LEFT_ALONE[name]
    with quick_second_pass(nn.Sequential(layer)):
        assert 'forward' not in vars(layer)


def test_norms_that_keep_statistics_go_on_keeping_them():
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), torch.randn(2, 3, 5, 5)
    twin = deepcopy(network)
    with quick_second_pass(network):
        output = network(x)
    torch.testing.assert_close(output, twin(x))
    torch.testing.assert_close(network[1].running_mean, twin[1].running_mean)
    torch.testing.assert_close(network[1].running_var, twin[1].running_var)
    assert network[1].num_batches_tracked == 1


def _network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Hardswish()]
    return nn.Sequential(*layers, nn.Sequential(nn.Conv2d(4, 4, 1), nn.Hardsigmoid()), nn.Conv2d(4, 4, 3, groups=4))


def _replaced(network):
    return [name for name, child in network.named_modules() if 'forward' in vars(child)]


def test_layers_are_put_back():
    network = _network()
    before = [dict(vars(child)) for child in network.modules()]
    with quick_second_pass(network):
        assert _replaced(network) == ['0', '1', '3.0', '3.1'] and has_quick_second_pass(network)
    assert [dict(vars(child)) for child in network.modules()] == before and not has_quick_second_pass(network)


def test_layers_are_put_back_after_an_error():
    network = _network()
    with pytest.raises(KeyError), quick_second_pass(network):
        raise KeyError
    assert _replaced(network) == []
    with pytest.raises(RuntimeError, match='expected input.*to have 3 channels'), quick_second_pass(network):
        network(torch.randn(1, 2, 5, 5))
    assert _replaced(network) == []


def test_layers_are_put_back_after_an_error_while_they_are_looked_for():
    network = _network()
    del network[3][0].groups
    with pytest.raises(AttributeError, match='groups'), quick_second_pass(network):
        raise AssertionError('not reached')
    assert _replaced(network) == []


@pytest.mark.parametrize('part', [slice(None), 3], ids=['the same', 'a part'])
def test_contexts_may_be_nested(part):
    network = _network()
    x = torch.randn(2, 3, 6, 6)
    plain = network(x)
    with quick_second_pass(network):
        with quick_second_pass(network[part]):
            torch.testing.assert_close(network(x), plain)
        assert _replaced(network) == ['0', '1', '3.0', '3.1']
    assert _replaced(network) == []


def test_a_layer_that_stands_twice_is_put_back():
    layer = nn.Hardsigmoid()
    network = nn.Sequential(layer, layer)
    with quick_second_pass(network):
        assert 'forward' in vars(layer)
    assert 'forward' not in vars(layer)


def test_under_autocast_it_is_torch():
    """Values and gradients are bit for bit those of torch, and half the size."""
    network = _network()[:2]
    x, found = torch.randn(2, 3, 6, 6), []
    for is_quick in (False, True):
        with torch.autocast('cpu', torch.bfloat16):
            if is_quick:
                with quick_second_pass(network):
                    output = network(x)
            else:
                output = network(x)
            found.append([output, *torch.autograd.grad(output.float().pow(3).sum(), network.parameters())])
    assert found[0][0].dtype == torch.bfloat16 and all(map(torch.equal, *found))


def test_a_whole_network_inside_functional_call():
    """Second derivatives at other parameters than the live ones, as a look-ahead takes them."""
    network = _network().double()
    values = {name: (1.1 * p).detach().requires_grad_() for name, p in network.named_parameters()}
    x, found = torch.randn(3, 3, 7, 7, dtype=torch.float64), []
    for is_quick in (True, False):
        with quick_second_pass(network) if is_quick else nullcontext():
            output = functional_call(network, values, (x,))
        names = set(_functions(output.grad_fn))
        assert ({'_ConvolutionBackward', '_BatchNormBackward'} <= names) == is_quick
        assert ('NativeBatchNormBackward0' in names) != is_quick
        found += [_derivatives(output, list(values.values()))]
        network[3][1].forward = lambda x: F.relu6(x + 3) / 6
    for mine, theirs in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


def _functions(node):
    """Names of the nodes of a graph."""
    waiting, seen = [node], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    return [node.name() for node in seen]
