"""The fast cells compute what the cells do, and leave the network as it was."""

import copy

import pytest
import torch
from torch import nn

from nni_wcnas.contracts import Choice
from nni_wcnas.network.cell_network import CellNetwork
from nni_wcnas.network.fast_cell import fast_cells
from nni_wcnas.spaces.architecture import Architecture

EDGES = [
    [('sep_conv_3x3', 0), ('dil_conv_5x5', 1)],
    [('max_pool_3x3', 0), ('sep_conv_5x5', 2)],
    [('skip_connect', 1), ('max_pool_3x3', 0)],
    [('dil_conv_3x3', 3), ('avg_pool_3x3', 4)],
]
EVERY = tuple(tuple(Choice(*edge) for edge in node) for node in EDGES)


def network(dtype=torch.float64, drop_path=0.3):
    torch.manual_seed(0)
    cells = Architecture.from_genotype({'normal': EVERY, 'reduce': EVERY})
    made = CellNetwork(cells, 4, 4, 5, drop_path=drop_path).to(dtype)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return made


def passed(model, training=True):
    """Logits, gradients, running statistics and random state after one pass."""
    model.train(training)
    torch.manual_seed(1)
    images = torch.randn(6, 3, 12, 12, dtype=next(model.parameters()).dtype)
    output = model(images)
    outputs = list(output) if isinstance(output, tuple) else [output]
    sum(logits.square().sum() for logits in outputs).backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return [*outputs, *gradients, *(buffer.double() for buffer in model.buffers()), torch.get_rng_state()]


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-10), (torch.float32, 2e-3)])
def test_same_numbers(training, dtype, tolerance):
    plain = network(dtype)
    fast = copy.deepcopy(plain)
    expected = passed(plain, training)
    with fast_cells(fast):
        found = passed(fast, training)
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)


def test_the_network_stays():
    model = network(torch.float32)
    names = {name: value.shape for name, value in model.state_dict().items()}
    expected = passed(copy.deepcopy(model))
    with pytest.raises(RuntimeError, match='stop'), fast_cells(model):
        assert {name: value.shape for name, value in model.state_dict().items()} == names
        raise RuntimeError('stop')
    assert all(torch.equal(*pair) for pair in zip(passed(model), expected, strict=True))


def test_is_another_computation():
    model = network(torch.float32)
    expected = passed(copy.deepcopy(model))[0]
    with fast_cells(model):
        assert not torch.equal(passed(model)[0], expected)


def test_autocast_is_left_to_the_cells():
    model = network(torch.float32, drop_path=0.0)
    images = torch.randn(4, 3, 12, 12)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        expected = model(images)[0]
        with fast_cells(model):
            assert torch.equal(model(images)[0], expected)


def test_a_network_without_cells():
    model = nn.Linear(3, 2)
    with fast_cells(model):
        assert model(torch.ones(1, 3)).shape == (1, 2)
