"""The evaluation network against NNI hub's, published figures, and hand-checked drop path."""

import random

import pytest
import torch
from nni.nas.hub.pytorch import DARTS, ENAS, PNAS, AmoebaNet, NASNet
from torch import nn
from torch.nn import functional as F

from nni_wcnas.network.cell_network import AuxiliaryHead, CellNetwork, DropPath, count_macs, count_parameters
from nni_wcnas.spaces.architecture import Architecture


def test_published_size(architecture):
    network = CellNetwork(architecture)
    assert count_parameters(network) == 3_349_342
    assert count_macs(network, 32) == 528_359_040
    assert count_parameters(CellNetwork(architecture, auxiliary_tower=False)) == 3_349_342


@pytest.mark.parametrize('cells', [5, 6])
def test_equals_the_hub(architecture, cells):
    ours = CellNetwork(architecture, 4, cells, auxiliary_tower=True).eval()
    theirs = DARTS.frozen_factory(architecture.sample)(4, cells, 'cifar', auxiliary_loss=True).eval()
    images = torch.randn(3, 3, 32, 32)
    _copy(ours, theirs)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-6)
    assert count_parameters(ours) == count_parameters(theirs)


def _copy(ours, theirs):
    named = [(name, value) for name, value in ours.state_dict().items() if 'auxiliary' not in name]
    others = [(name, value) for name, value in theirs.state_dict().items() if 'auxiliary' not in name]
    # The hub names modules otherwise; both go from stem to classifier in the same order.
    with torch.no_grad():
        for (_, mine), (_, other) in zip(named, others, strict=True):
            assert mine.shape == other.shape
            other.copy_(mine)


@pytest.mark.parametrize('size', [64, 224])
def test_imagenet_stem_equals_the_hubs(architecture, size):
    found = Architecture('darts', architecture.sample, architecture.operations, arguments={'stem': 'imagenet'})
    ours = CellNetwork(found, 4, 4, num_classes=1000)
    theirs = DARTS.frozen_factory(found.sample)(4, 4, 'imagenet', auxiliary_loss=True).eval()
    _copy(ours, theirs)
    images = torch.randn(2, 3, size, size)
    torch.testing.assert_close(ours.eval()(images), theirs(images), rtol=1e-5, atol=1e-6)
    assert [tuple(logits.shape) for logits in ours.train()(images)] == [(2, 1000)] * 2


@pytest.mark.parametrize(
    ('space', 'hub'), [('hub_nasnet', NASNet), ('hub_enas', ENAS), ('hub_amoebanet', AmoebaNet), ('hub_pnas', PNAS)]
)
def test_other_cells_equal_the_hubs(space, hub):
    generator = random.Random(3)
    operations = next(value for name, value in vars(hub).items() if name.endswith('_OPS'))
    sample = {}
    for cell in ('normal', 'reduce'):
        for node in range(2, 7):
            for k, source in enumerate(generator.sample(range(node), 2)):
                sample[f'{cell}/op_{node}_{k}'] = generator.choice(operations)
                sample[f'{cell}/input_{node}_{k}'] = [source]
    found = Architecture(space, sample, tuple(operations))
    ours, theirs = CellNetwork(found, 4, 4), hub.frozen_factory(sample)(4, 4, 'cifar').eval()
    assert all((len(found.outputs(name)) < 5) == (space != 'hub_pnas') for name in ('normal', 'reduce'))
    _copy(ours, theirs)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(images), theirs(images), rtol=1e-4, atol=1e-5)
    assert [tuple(logits.shape) for logits in ours.train()(images)] == [(2, 10)] * 2


def test_counting_leaves_the_model_alone(architecture):
    network = CellNetwork(architecture, 2, 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    count_macs(network, 16)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_macs_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    assert count_macs(model, 8) == 8 * 8 * 4 * 3 * 9 + 4 * 5


@pytest.mark.parametrize(('cells', 'reductions'), [(3, (1, 2)), (5, (1, 3)), (8, (2, 5)), (20, (6, 13))])
def test_reductions_double_the_channels(architecture, cells, reductions):
    network = CellNetwork(architecture, 2, cells, auxiliary_tower=False).eval()
    shapes = []
    for cell in network.cells:
        cell.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    network(torch.randn(1, 3, 16, 16))
    halvings = [sum(index >= reduction for reduction in reductions) for index in range(cells)]
    assert shapes == [(8 * 2**count, 16 >> count, 16 >> count) for count in halvings]


def test_auxiliary_tower_speaks_in_training_only(architecture):
    network = CellNetwork(architecture, 2, 6, num_classes=7)
    for size in (16, 32, 64):
        logits, auxiliary = network(torch.randn(2, 3, size, size))
        assert logits.shape == auxiliary.shape == (2, 7)
        assert network.eval()(torch.randn(2, 3, size, size)).shape == (2, 7)
        network.train()
    assert CellNetwork(architecture, 2, 3, auxiliary_tower=False)(torch.randn(2, 3, 16, 16)).shape == (2, 10)


def test_auxiliary_tower_hangs_after_the_second_reduction(architecture):
    network = CellNetwork(architecture, 2, 6)
    seen = {}
    network.cells[4].register_forward_hook(lambda module, inputs, output: seen.update(cell=output))
    network.auxiliary.register_forward_pre_hook(lambda module, inputs: seen.update(head=inputs[0]))
    network(torch.randn(2, 3, 16, 16))
    assert seen['head'] is seen['cell']


def test_auxiliary_pool():
    head = AuxiliaryHead(4, 3).eval()
    seen = []
    head.features.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    for size, pool in (
        (8, lambda x: F.avg_pool2d(x, 5, 3)),
        (4, lambda x: F.avg_pool2d(x, 2)),
        (16, lambda x: F.avg_pool2d(x, 8)),
    ):
        x = torch.randn(2, 4, size, size)
        head(x)
        torch.testing.assert_close(seen[-1], pool(x.relu()))


def test_drop_path_drops_whole_examples_and_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(20_000, 2, 1, 1)
    output = DropPath(0.3)(x)
    kept = output[:, 0, 0, 0] != 0
    assert torch.equal(output[:, 0], output[:, 1])
    assert abs(kept.float().mean() - 0.7) < 0.015
    torch.testing.assert_close(output[kept], torch.full_like(output[kept], 1 / 0.7))
    assert torch.equal(x, torch.ones_like(x))


def test_drop_path_draws_nothing_when_off():
    x = torch.randn(4, 2, 3, 3)
    state = torch.get_rng_state()
    assert DropPath(0.0)(x) is x
    assert DropPath(0.5).eval()(x) is x
    assert torch.equal(torch.get_rng_state(), state)


def test_drop_path_on_everything_but_the_identity(architecture):
    network = CellNetwork(architecture, 2, 8, drop_path=0.25)
    edges = [edge for cell in network.cells for edge in cell.edges]
    identities = [edge for edge in edges if isinstance(edge, nn.Identity)]
    dropped = [edge for edge in edges if isinstance(edge, nn.Sequential) and isinstance(edge[-1], DropPath)]
    # Two skips in each of six normal cells; three in each reduction cell, from node 0, which keep the size too.
    assert len(identities) == 6 * 2 + 2 * 3
    assert len(identities) + len(dropped) == len(edges)
    assert {edge[-1].probability for edge in dropped} == {0.25}
    network.set_drop_path(0.1)
    assert {edge[-1].probability for edge in dropped} == {0.1}


def test_network_drops_in_training_only(architecture):
    network = CellNetwork(architecture, 2, 3, auxiliary_tower=False, drop_path=0.5)
    images = torch.randn(4, 3, 16, 16)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'cells': 2}, 'cells is 2'),
        ({'channels': 1}, 'channels is 1'),
        ({'num_classes': 0}, 'num_classes is 0'),
        ({'architecture': Architecture('other', {'op': 1})}, 'space other has no normal and reduction cell'),
        ({'drop_path': 1.0}, 'drop_path is 1.0'),
        ({'drop_path': -0.1}, 'drop_path is -0.1'),
    ],
)
def test_errors(architecture, arguments, message):
    with pytest.raises(ValueError, match=message):
        CellNetwork(**{'architecture': architecture, 'channels': 2, 'cells': 3, **arguments})
