"""The fast cell against the plain one: equal up to rounding, in everything that can be seen of it."""

import copy
import itertools

import pytest
import torch
from nni.nas.hub.pytorch import DARTS as HubDARTS
from nni.nas.hub.pytorch import NASNet
from torch import nn
from torch.nn import functional as F

from nni_wcnas import Magnitude, Search
from nni_wcnas.functional.convolution import depthwise
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.hypergradient import gradient
from nni_wcnas.spaces import DARTS
from nni_wcnas.spaces.operations import OPERATIONS
from nni_wcnas.supernet import RelaxedCell
from nni_wcnas.supernet import branches as side_by_side
from nni_wcnas.supernet.recognition import Identity, Nothing, Other, Pool, Separable, recognise

SPACES = {
    'official': lambda: DARTS(width=4, num_cells=4, num_classes=10),
    'hub': lambda: HubDARTS(width=4, num_cells=3, dataset='cifar'),
    'nasnet': lambda: NASNet(width=4, num_cells=3, dataset='cifar'),
}


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def pair(space):
    """The same supernet with the fast cell and with the plain one, decided enough to tell its operations apart."""
    networks = []
    for fast in (True, False):
        torch.manual_seed(0)
        network = Search(fast_cell=fast).mutate_model(SPACES[space]())
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if '_arch_alpha' in name:
                    parameter.normal_()
                elif parameter.dim() == 1 and 'weight' in name:  # affine batch norms start at one
                    parameter.uniform_(0.5, 1.5)
        networks.append(network)
    assert cells(networks[0])[0].fast and not cells(networks[1])[0].fast
    return networks


def cells(network):
    return [module for module in network.modules() if isinstance(module, RelaxedCell)]


def outcome(network, images, labels):
    """Logits, all gradients and, afterwards, all buffers."""
    logits = network(images)
    parameters = dict(network.named_parameters())
    found = gradient(F.cross_entropy(logits, labels), parameters)
    return {'logits': logits.detach(), **found, **{name: b.double() for name, b in network.named_buffers()}}


def assert_alike(mine, theirs, tolerance=1e-10):
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, rtol=0, atol=tolerance, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize('training', [True, False], ids=['training', 'evaluation'])
@pytest.mark.parametrize(('count', 'size'), [(3, 16), (1, 9)])
@pytest.mark.parametrize('space', SPACES)
def test_equal(space, count, size, training):
    networks = pair(space)
    images, labels = torch.randn(count, 3, size, size), torch.randint(10, (count,))
    for network in networks:
        network(images * 0.5)  # moves the running statistics
        network.train(training)
    mine, theirs = (outcome(network, images, labels) for network in networks)
    assert_alike(mine, theirs)


def test_state_dict_goes_from_one_into_the_other():
    fast, plain = pair('official')
    assert list(fast.state_dict()) == list(plain.state_dict())
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.1)
    fast.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(fast(images), plain(images), rtol=0, atol=1e-10)


def test_a_copy_is_independent():
    fast, _ = pair('official')
    fast(torch.randn(2, 3, 8, 8))
    other, images = copy.deepcopy(fast), torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(other(images), fast(images))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert not fast(images).equal(other(images)) and not fast(images).equal(torch.zeros(2, 10))


@pytest.mark.parametrize('space', ['official', 'hub'])
def test_pruned_candidates(space):
    networks = pair(space)
    width = len(cells(networks[0])[0].op_names)
    generator = torch.Generator().manual_seed(0)
    pruned = [
        (edge, k) for edge in range(14) for k in range(width) if k != 3 and torch.rand((), generator=generator) < 0.6
    ]
    for network in networks:
        for label in ('normal', 'reduce'):
            next(cell for cell in cells(network) if cell.label.endswith(label)).prune(pruned)
    images, labels = torch.randn(3, 3, 16, 16), torch.randint(10, (3,))
    mine, theirs = (outcome(network, images, labels) for network in networks)
    assert_alike(mine, theirs)
    for cell, (edge, k) in itertools.product(cells(networks[0]), pruned):
        assert cell.scores().probabilities[edge, k] == 0
        touched = [mine[n] for n, p in networks[0].named_parameters() for q in _candidate(cell, edge, k) if p is q]
        assert all(not value.any() for value in touched)
    chosen = {(edge, k) for edge in range(14) for k in range(width)} - set(pruned)
    for by in ('probability', 'logit'):
        scores = cells(networks[0])[0].scores()
        for node, choices in enumerate(Magnitude(by=by).select(scores)):
            for choice in choices:
                edge = scores.layout.edges_into(node)[choice.source]
                assert (edge, scores.layout.operations.index(choice.operation)) in chosen


def _candidate(cell, edge, k):
    edges = [candidates for node in cell.ops for candidates in node]
    return list(list(edges[edge].values())[k].parameters())


def test_a_pruned_operation_is_not_computed():
    network, _ = pair('official')
    cell = cells(network)[0]
    position = cell.op_names.index('sep_conv_5x5')
    cell.prune([(edge, position) for edge in range(14)])
    network(torch.randn(2, 3, 8, 8))
    counts = {name: b for name, b in network.named_buffers() if 'num_batches' in name and 'sep_conv_5x5' in name}
    normal = [count for name, count in counts.items() if name.startswith(('cells.0.', 'cells.3.'))]
    reduce = [count for name, count in counts.items() if name.startswith('cells.1.')]
    assert set(map(int, normal)) == {0} and set(map(int, reduce)) == {1}


@pytest.mark.parametrize('kept', ['none', 'skip_connect'])
def test_cells_without_any_convolution(kept):
    networks = pair('official')
    for network in networks:
        for cell in cells(network)[:2]:
            cell.prune([(edge, k) for edge in range(14) for k, name in enumerate(cell.op_names) if name != kept])
    images, labels = torch.randn(2, 3, 16, 16), torch.randint(10, (2,))
    mine, theirs = (outcome(network, images, labels) for network in networks)
    assert_alike(mine, theirs)


def test_what_cannot_be_pruned():
    cell = cells(pair('official')[0])[0]
    with pytest.raises(ValueError, match=r'no candidate \(14, 0\): a cell has 14 edges of 8'):
        cell.prune([(14, 0)])
    with pytest.raises(ValueError, match='edge 2 would lose its last candidate'):
        cell.prune([(2, k) for k in range(8)])


def test_frozen_statistics_stand_still():
    network, _ = pair('official')
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with frozen_statistics(network):
        network(torch.randn(2, 3, 8, 8))
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
    network(torch.randn(2, 3, 8, 8))
    assert not all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


def test_batch_norms_in_different_modes():
    networks = pair('official')
    images, labels = torch.randn(3, 3, 8, 8), torch.randint(10, (3,))
    for network in networks:
        network(images)
        for cell in cells(network):
            cell.ops[1][0]['sep_conv_3x3'].eval()
    mine, theirs = (outcome(network, images, labels) for network in networks)
    assert_alike(mine, theirs)


def test_second_derivatives():
    """As Unrolled(by='exact') takes them."""
    found = []
    for network in pair('official'):
        torch.manual_seed(1)
        images, labels = torch.randn(2, 3, 8, 8), torch.randint(10, (2,))
        alphas = {n: p for n, p in network.named_parameters() if '_arch_alpha' in n}
        weights = {n: p for n, p in network.named_parameters() if n not in alphas}
        first = gradient(F.cross_entropy(network(images), labels), alphas, create_graph=True)
        found.append(gradient(sum(g.square().sum() for g in first.values()), weights))
    largest = max(value.abs().max().item() for value in found[1].values())
    assert largest > 1
    assert_alike(*found, tolerance=1e-11 * largest)


BYTES = 3 * 4 * 16 * 16 * 8
"""Of a state of ``pair('official')`` for three images of 16 pixels, in float64."""


@pytest.mark.parametrize('branches', [2, 3, 8])
def test_side_by_side_against_apart(monkeypatch, branches):
    """However many convolutions are one call, the numbers are the same, second derivatives included."""
    network, _ = pair('official')
    cells(network)[0].prune([(1, 4), (3, 5), (5, 4), (6, 5), (9, 6), (10, 6)])  # Not the same ones into all nodes.
    images, labels = torch.randn(3, 3, 16, 16), torch.randint(10, (3,))
    alphas = [p for name, p in network.named_parameters() if '_arch_alpha' in name]
    weights = [p for name, p in network.named_parameters() if '_arch_alpha' not in name]
    found = []
    for cache in (branches * BYTES, 0):
        monkeypatch.setattr(side_by_side, '_CACHE', cache)
        with frozen_statistics(network):
            loss = F.cross_entropy(network(images), labels)
        first = torch.autograd.grad(loss, alphas, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), weights, allow_unused=True)
        found.append({str(i): g.detach() for i, g in enumerate((loss, *first, *second)) if g is not None})
    assert_alike(*found, tolerance=1e-11 * max(value.abs().max().item() for value in found[1].values()))


@pytest.mark.parametrize(('branches', 'calls'), [(8, 4 * 6), (4, 4 * 6 + 6), (1, 14 * 6)])
def test_small_convolutions_are_one_call(monkeypatch, branches, calls):
    """Of 14 edges: 8 from the inputs, 3, 2 and 1 from the nodes; each has two kinds of two stages and two of one."""
    network, _ = pair('official')
    monkeypatch.setattr(side_by_side, '_CACHE', branches * BYTES)
    widths = []

    def counted(x, weight, **geometry):
        widths.append(len(weight) // 4)
        return depthwise(x, weight, **geometry)

    monkeypatch.setattr(side_by_side, 'depthwise', counted)
    states = [torch.randn(3, 4, 16, 16).contiguous(memory_format=torch.channels_last) for _ in range(2)]
    cells(network)[0].states(states)
    assert len(widths) == calls and sum(widths) == 14 * 6 and max(widths) <= branches


def test_two_operations_with_one_output(monkeypatch):
    monkeypatch.setitem(OPERATIONS, 'again', OPERATIONS['skip_connect'])
    names = 'skip_connect', 'again', 'sep_conv_3x3'
    monkeypatch.setitem(SPACES, 'again', lambda: DARTS(width=4, num_cells=3, operations=names))
    networks = pair('again')
    images, labels = torch.randn(3, 3, 8, 8), torch.randint(10, (3,))
    assert_alike(*(outcome(network, images, labels) for network in networks))


def test_half_precision():
    """Under autocast the fast cell is no further from the truth than the plain one."""
    fast, plain = (network.float() for network in pair('official'))
    images = torch.randn(4, 3, 16, 16, dtype=torch.float32)
    with torch.no_grad(), frozen_statistics(fast), frozen_statistics(plain):
        exact = fast(images)
        with torch.autocast('cpu', torch.bfloat16):
            mine, theirs = fast(images), plain(images)
    assert (mine - exact).norm() < 1.5 * (theirs - exact).norm() < 0.5 * exact.norm()


def test_a_single_value_per_channel_is_refused():
    with pytest.raises(ValueError, match='more than one value per channel'):
        pair('official')[0](torch.randn(1, 3, 4, 4))


@pytest.mark.parametrize('space', SPACES)
def test_what_is_recognised(space):
    network, _ = pair(space)
    kinds = {
        name: type(recognise(operation))
        for cell in cells(network)
        for node in cell.ops
        for candidates in node[2:]  # stride 1
        for name, operation in candidates.items()
    }
    expected = {'none': Nothing, 'skip_connect': Identity}
    for name, kind in kinds.items():
        usual = Pool if 'pool' in name else Separable if name.startswith(('sep_', 'dil_')) else Other
        assert kind is expected.get(name, usual), name


@pytest.mark.parametrize(
    'layer',
    [
        nn.Conv2d(4, 4, (3, 5), padding=(1, 2), groups=4, bias=False),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False, padding_mode='reflect'),
    ],
    ids=['oblong', 'bias', 'groups', 'reflect'],
)
def test_what_is_not_recognised_is_called(layer):
    pointwise = nn.Conv2d(4, 4, 1, bias=False)
    assert isinstance(recognise(nn.Sequential(nn.ReLU(), layer, pointwise, nn.BatchNorm2d(4))), Other)


def test_pools_that_differ_in_what_their_name_does_not_show():
    averages = [recognise(nn.AvgPool2d(3, 1, 1, count_include_pad=include)) for include in (True, False)]
    assert averages[0].key != averages[1].key


class Doubled(nn.Sequential):
    """Layers in order, and then something that no list of its layers shows."""

    def forward(self, x):
        return 2 * super().forward(x)


def _separable(norms, kind=nn.Sequential, stride=1):
    channels = norms[0].num_features
    stages = [
        [
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1 if number else stride, 1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            norm,
        ]
        for number, norm in enumerate(norms)
    ]
    return kind(*sum(stages, []))


def test_a_sequence_with_a_forward_pass_of_its_own_is_called():
    assert isinstance(recognise(_separable([nn.BatchNorm2d(4)])), Separable)
    assert isinstance(recognise(_separable([nn.BatchNorm2d(4)], kind=Doubled)), Other)
    assert isinstance(recognise(Doubled(nn.MaxPool2d(3, 1, 1), nn.BatchNorm2d(4))), Other)
    assert isinstance(recognise(nn.Sequential(Doubled(nn.MaxPool2d(3, 1, 1)))), Other)


def test_an_operation_whose_stages_differ(monkeypatch):
    """The first operation of a cell, with two epsilons: one product cannot serve both stages' norms."""
    monkeypatch.setitem(
        OPERATIONS, 'uneven', lambda channels, stride, affine: _separable(
            [nn.BatchNorm2d(channels, eps=0.5, affine=affine), nn.BatchNorm2d(channels, affine=affine)], stride=stride
        )
    )
    monkeypatch.setitem(
        SPACES, 'uneven', lambda: DARTS(width=4, num_cells=3, operations=('uneven', 'sep_conv_3x3', 'skip_connect'))
    )
    networks = pair('uneven')
    images, labels = torch.randn(3, 3, 8, 8), torch.randint(10, (3,))
    assert_alike(*(outcome(network, images, labels) for network in networks))
