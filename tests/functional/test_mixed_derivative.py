"""What held weights leave out of a second backward pass, and what they leave as it is, in float64."""

from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional as F

from nni_wcnas import Search
from nni_wcnas.functional import convolution as module
from nni_wcnas.functional.convolution import Geometry, convolution, depthwise
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.hypergradient import gradient, inner_gradient
from nni_wcnas.functional.mixed_derivative import held, weights_held
from nni_wcnas.functional.pointwise_norm import normalised
from nni_wcnas.functional.second_pass import quick_second_pass
from nni_wcnas.spaces import DARTS

LAYERS, CHANNELS, SIZE = 4, 3, 6


def _image(rows):
    return rows.view(2, SIZE, SIZE, CHANNELS).permute(0, 3, 1, 2)


def _rows(image):
    return image.permute(0, 2, 3, 1).reshape(-1, CHANNELS)


def _dense(x, weight):
    return convolution(x, weight, Geometry(1, 1))


def _torchs(x, weight, geometry):
    return F.conv2d(x, weight, None, *geometry)


def _depthwise(x, weight):
    return convolution(x, weight[:, :1], Geometry(1, 1, 1, CHANNELS))


def _pointwise(x, weight):
    gain, bias = weight[:, 0, 0, 1], weight[:, 0, 0, 2]
    (rows,), _ = normalised([_rows(x)], weight[None, :, :, 0, 0], gain[None], bias[None], 1e-3)
    return _image(rows)


FUNCTIONS = {'dense': _dense, 'depthwise': _depthwise, 'pointwise and norm': _pointwise}
every_function = pytest.mark.parametrize('function', FUNCTIONS.values(), ids=FUNCTIONS)


def _problem(function):
    """Layers, each with a target that scales its input."""
    torch.manual_seed(0)
    shape = (CHANNELS, CHANNELS, 3, 3)
    weights = {f'layer {i}': torch.randn(shape, dtype=torch.float64) / 3 for i in range(LAYERS)}
    targets = {'mix': torch.rand(LAYERS, dtype=torch.float64) + 0.5}
    x = torch.randn(2, CHANNELS, SIZE, SIZE, dtype=torch.float64).contiguous(memory_format=torch.channels_last)

    def loss(parameters, others):
        features = x
        for i, weight in enumerate(parameters.values()):
            features = torch.tanh(function(others['mix'][i] * features, weight)) + 0.3 * features
        return features.square().mean()

    vector = {name: torch.randn_like(value) for name, value in weights.items()}
    return loss, weights, targets, vector


def _product(problem, is_held):
    loss, weights, targets, vector = problem
    with weights_held() if is_held else nullcontext():
        inner = inner_gradient(loss, weights, targets)
    return inner.gradients, inner.product(vector)


@every_function
def test_products_in_targets_are_unchanged(function):
    problem = _problem(function)
    (plain_slopes, plain), (slopes, product) = (_product(problem, is_held) for is_held in (False, True))
    assert all(map(torch.equal, slopes.values(), plain_slopes.values()))
    assert plain['mix'].abs().min() > 1e-6
    torch.testing.assert_close(product, plain, rtol=1e-12, atol=1e-12)


@every_function
def test_products_are_those_of_a_finite_difference(function):
    loss, weights, targets, vector = _problem(function)
    difference = inner_gradient(loss, weights, targets, 'finite_difference', radius=1e-5).product(vector)
    _, product = _product((loss, weights, targets, vector), True)
    torch.testing.assert_close(product, difference, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize('fast_cell', [True, False])
def test_products_in_the_architecture_of_a_supernet_are_unchanged(fast_cell):
    found = []
    for is_held in (False, True):
        torch.manual_seed(0)
        network = Search(fast_cell=fast_cell).mutate_model(DARTS(width=4, num_cells=3, num_nodes=2)).double()
        alphas = {name: p for name, p in network.named_parameters() if '_arch_alpha' in name}
        weights = {name: p for name, p in network.named_parameters() if name not in alphas}
        images, labels = torch.randn(3, 3, 8, 8).double(), torch.tensor([1, 2, 3])

        def loss(parameters, targets, network=network, images=images, labels=labels):
            with frozen_statistics(network), quick_second_pass(network):
                logits = torch.func.functional_call(network, {**parameters, **targets}, (images,))
            return F.cross_entropy(logits, labels)

        _, product = _product((loss, weights, alphas, {name: p.cos() for name, p in weights.items()}), is_held)
        found.append(product)
    assert all(value.norm() > 1e-3 for value in found[0].values())
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)


class Calls:
    """How often each derivative of a convolution is computed."""

    def __init__(self, monkeypatch):
        self.weight = self.input = 0
        for home in (module, module.depthwise_form):
            for name in ('conv2d_weight', 'conv2d_input', 'weight_gradient', 'input_gradient'):
                if hasattr(home, name):
                    monkeypatch.setattr(home, name, self._counting(home, name))

    def _counting(self, home, name):
        function, kind = getattr(home, name), 'weight' if 'weight' in name else 'input'

        def call(*given):
            before = self.weight, self.input
            output = function(*given)
            self.weight, self.input = before  # One that is made of another counts once.
            setattr(self, kind, getattr(self, kind) + 1)
            return output

        return call


@pytest.mark.parametrize('function', [_dense, _depthwise], ids=['dense', 'depthwise'])
def test_a_second_pass_computes_no_gradient_by_the_weights(function, monkeypatch):
    """Each layer has one in the first pass. Not held, the second one has two more for all layers but the first."""
    calls, problem = Calls(monkeypatch), _problem(function)
    loss, weights, targets, vector = problem
    with weights_held():
        inner = inner_gradient(loss, weights, targets)
    assert (calls.weight, calls.input) == (LAYERS, LAYERS)
    inner.product(vector)
    assert calls.weight == LAYERS, 'a gradient that nobody reads'
    of_inputs = calls.input
    _product(problem, False)
    assert calls.weight > 3 * LAYERS and calls.input == 2 * of_inputs


def test_a_depthwise_layer_in_single_precision_computes_none_either(monkeypatch):
    """The fast form, as a supernet has it."""
    calls = Calls(monkeypatch)
    torch.manual_seed(0)
    weights = {f'layer {i}': torch.randn(CHANNELS, 1, 5, 5) for i in range(LAYERS)}
    x = torch.randn(2, CHANNELS, SIZE, SIZE).contiguous(memory_format=torch.channels_last)

    def loss(parameters, others):
        features = x
        for i, weight in enumerate(parameters.values()):
            features = torch.tanh(depthwise(others['mix'][i] * features, weight, padding=2))
        return features.square().sum()

    with weights_held():
        inner = inner_gradient(loss, weights, {'mix': torch.ones(LAYERS)})
    assert calls.weight == LAYERS
    product = inner.product({name: torch.randn_like(value) for name, value in weights.items()})
    assert calls.weight == LAYERS and product['mix'].abs().min() > 0


def test_every_first_pass_inside_is_whole():
    """Also the second one over the same graph."""
    loss, weights, targets, _ = _problem(_dense)
    point = {name: value.requires_grad_() for name, value in weights.items()}
    with weights_held():
        value = loss(point, targets)
        once, again = (gradient(value, point, create_graph=True) for _ in range(2))
    assert all(map(torch.equal, once.values(), again.values())) and all(value.any() for value in again.values())


@every_function
@pytest.mark.parametrize('before', ['nothing', 'a context', 'an error in one'])
def test_outside_second_derivatives_by_the_weights_are_whole(function, before):
    if before == 'a context':
        with weights_held(), weights_held():
            pass
    elif before == 'an error in one':
        with pytest.raises(KeyError), weights_held():
            raise KeyError
    loss, weights, targets, vector = _problem(function)
    names = list(weights)

    def whole(*values):
        return loss(dict(zip(names, values)), targets)

    values = [value.requires_grad_() for value in weights.values()]
    slopes = torch.autograd.grad(whole(*values), values, create_graph=True)
    curvature = torch.autograd.grad(sum((s * v).sum() for s, v in zip(slopes, vector.values())), values)
    step = 1e-6
    moved = [
        torch.autograd.grad(whole(*[w + sign * step * v for w, v in zip(values, vector.values())]), values)
        for sign in (1, -1)
    ]
    for mine, above, below in zip(curvature, *moved, strict=True):
        assert mine.norm() > 1e-3
        torch.testing.assert_close(mine, (above - below) / (2 * step), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize('function', [_dense, _depthwise], ids=['dense', 'depthwise'])
def test_outside_second_derivatives_by_the_weights_are_torchs(function, monkeypatch):
    loss, weights, targets, vector = _problem(function)
    point, found = {name: value.requires_grad_() for name, value in weights.items()}, []
    for make in (convolution, _torchs):
        monkeypatch.setitem(globals(), 'convolution', make)
        slopes = gradient(loss(point, targets), point, create_graph=True)
        found.append(gradient(sum((slopes[name] * vector[name]).sum() for name in point), point))
    torch.testing.assert_close(found[0], found[1], rtol=1e-11, atol=1e-12)


def test_held_is_a_constant_of_the_same_numbers():
    weight = torch.randn(3, requires_grad=True)
    assert held(weight) is weight
    with weights_held():
        with weights_held():
            pass
        assert torch.equal(held(weight), weight) and not held(weight).requires_grad
    assert held(weight) is weight
