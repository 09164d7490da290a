"""The skip beside the mixture: its weight over the epochs, what it is, and that it only adds."""

import math

import pytest
import torch
from nni.nas.hub.pytorch import DARTS as HubDARTS
from torch import nn

from nni_wcnas import Search
from nni_wcnas.contracts import Moment
from nni_wcnas.spaces import DARTS
from nni_wcnas.spaces.operations import FactorizedReduce
from nni_wcnas.supernet import RelaxedCell
from nni_wcnas.transform import AuxiliarySkip


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def cells(operations=('none', 'sep_conv_3x3'), space=None, **search):
    torch.manual_seed(0)
    strategy = Search(transforms=(AuxiliarySkip(),), **search)
    network = strategy.mutate_model(space or DARTS(width=4, num_cells=3, operations=operations))
    return strategy, network, [module for module in network.modules() if isinstance(module, RelaxedCell)]


@pytest.mark.parametrize(('decay', 'formula'), [
    ('linear', lambda e, epochs: 3 * (epochs - e) / epochs),
    ('cosine', lambda e, epochs: 3 * (1 + math.cos(math.pi * e / epochs)) / 2),
    ('slow_cosine', lambda e, epochs: 3 * math.cos(math.pi * e / 2 / epochs)),
])
def test_weight_over_the_epochs(decay, formula):
    weights = [AuxiliarySkip(3.0, decay).extra_weight(Moment(epoch, 50)) for epoch in range(50)]
    assert weights == pytest.approx([formula(epoch, 50) for epoch in range(50)], abs=1e-12)
    assert weights[0] == 3.0 and weights == sorted(weights, reverse=True) and weights[-1] > 0


def test_last_weight_of_the_published_schedule():
    assert AuxiliarySkip().extra_weight(Moment(49, 50)) == pytest.approx(1 / 50)


@pytest.mark.parametrize('space', [None, HubDARTS(width=8, num_cells=3, dataset='cifar')], ids=['ours', 'hub'])
def test_skips_are_the_spaces_own(space):
    """Nothing where the size stays, a factorised reduction where it is halved; no candidate need be a skip."""
    _, _, found = cells(space=space)
    for cell in found:
        skips = cell.extras
        for edge, skip in zip(cell.layout.edges, skips):
            if cell.layout.is_reduction and edge.source < 2:
                assert type(skip).__name__ == 'FactorizedReduce' and any(True for _ in skip.parameters())
                assert not any(norm.affine for norm in skip.modules() if isinstance(norm, nn.BatchNorm2d)) or space
            else:
                assert type(skip) is nn.Identity
    if space is None:
        assert isinstance(found[1].extras[0], FactorizedReduce)


@pytest.mark.parametrize('fast', [True, False], ids=['fast', 'plain'])
@pytest.mark.parametrize('epoch', [0, 3])
def test_cells_against_loops(epoch, fast):
    strategy, _, found = cells(fast_cell=fast)
    strategy._clock.moment = Moment(epoch, 4)
    for cell, channels in ((found[0], 4), (found[1], 8)):
        inputs = [torch.randn(2, channels, 8, 8).contiguous(memory_format=torch.channels_last) for _ in range(2)]
        alpha, states = cell._arch_alpha.softmax(-1), list(inputs)
        for node in range(4):
            total = 0
            for source, edge in enumerate(cell.layout.edges_into(node)):
                total = total + cell.extras[edge](states[source]) * (1 - epoch / 4)
                for k, operation in enumerate(cell.ops[node][source].values()):
                    total = total + alpha[edge, k] * operation(states[source])
            states.append(total)
        for mine, theirs in zip(cell.states(inputs), states):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


def test_selection_does_not_see_it_and_the_weights_own_its_parameters():
    _, network, found = cells()
    assert found[0].layout.operations == ('none', 'sep_conv_3x3') and found[0].scores().logits.shape == (14, 2)
    assert {value for name, value in found[0].export({}).items() if '/op_' in name} == {'sep_conv_3x3'}
    loss = network(torch.randn(2, 3, 8, 8)).square().sum()
    owned = list(found[1].extras.parameters())
    assert owned and all(gradient.any() for gradient in torch.autograd.grad(loss, owned))


def test_dropped_edges_have_none():
    _, _, found = cells()
    found[0].drop([0])
    states = [torch.randn(2, 4, 6, 6) for _ in range(2)]
    before = found[0].states(states)[2]
    torch.testing.assert_close(found[0].states([states[0] + 1, states[1]])[2], before, rtol=0, atol=0)


def test_refused():
    for initial in (0.0, -1.0, float('inf')):
        message = f'initial must be positive and finite, as 1, or the transform left out, not {initial}'
        with pytest.raises(ValueError, match=message):
            AuxiliarySkip(initial)
    with pytest.raises(ValueError, match="decay must be one of linear, cosine, slow_cosine, not 'step'"):
        AuxiliarySkip(decay='step')
