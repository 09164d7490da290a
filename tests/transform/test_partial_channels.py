"""Partial channels in a whole cell, against plain loops over edges and channels."""

import pytest
import torch
from nni.nas.hub.pytorch import DARTS as HubDARTS
from torch.nn import functional as F

from nni_wcnas import Search
from nni_wcnas.contracts import Moment
from nni_wcnas.spaces import DARTS
from nni_wcnas.supernet import RelaxedCell
from nni_wcnas.transform import PartialChannels

OPERATIONS = ('none', 'max_pool_3x3', 'skip_connect', 'dil_conv_3x3')


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def cells(transform, space=None, **search):
    torch.manual_seed(0)
    network = Search(transforms=(transform,), **search).mutate_model(
        space or DARTS(width=8, num_cells=3, operations=OPERATIONS)
    )
    found = [module for module in network.modules() if isinstance(module, RelaxedCell)]
    with torch.no_grad():
        for cell in found:
            for parameter in cell.arch_parameters():
                parameter.normal_()
    return network, found


def by_loops(cell, states, k, dropped=()):
    """Every edge, every operation, every channel."""
    alpha, states = cell._arch_alpha.softmax(-1), list(states)
    for node in range(4):
        edges = list(cell.layout.edges_into(node))
        kept = [edge for edge in edges if edge not in dropped]
        if hasattr(cell, '_arch_beta'):
            total = sum(cell._arch_beta[edge].exp() for edge in kept)
            gates = {edge: cell._arch_beta[edge].exp() / total for edge in kept}
        else:
            gates = dict.fromkeys(kept, 1.0)
        node_value = 0
        for source, edge in enumerate(edges):
            if edge not in kept:
                continue
            width = states[source].shape[1] // k
            operations = cell.ops[node][source].values()
            mixed = sum(alpha[edge, j] * op(states[source][:, :width]) for j, op in enumerate(operations))
            rest = states[source][:, width:]
            if rest.shape[2:] != mixed.shape[2:]:
                rest = F.max_pool2d(rest, 2)
            side_by_side = torch.cat((mixed, rest), 1)
            order = [group * width + member for member in range(width) for group in range(k)]
            node_value = node_value + gates[edge] * side_by_side[:, order]
        states.append(node_value)
    return states


@pytest.mark.parametrize('fast', [True, False], ids=['fast', 'plain'])
@pytest.mark.parametrize('transform', [PartialChannels(), PartialChannels(2), PartialChannels(4, False)], ids=repr)
def test_cells_against_loops(transform, fast):
    _, found = cells(transform, fast_cell=fast)
    for cell in found:
        channels = 8 * 2 ** found.index(cell)  # 8 in the first cell; the other two reduce
        states = [torch.randn(2, channels, 8, 8) for _ in range(2)]
        if fast:
            states = [state.contiguous(memory_format=torch.channels_last) for state in states]
        for mine, theirs in zip(cell.states(states), by_loops(cell, states, transform.k)):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)
            assert mine.shape[1] == channels


@pytest.mark.parametrize('fast', [True, False], ids=['fast', 'plain'])
def test_dropped_edges_leave_their_weight_to_the_others(fast):
    _, found = cells(PartialChannels(), fast_cell=fast)
    found[0].drop([1, 2, 7])
    states = [torch.randn(2, 8, 6, 6) for _ in range(2)]
    for mine, theirs in zip(found[0].states(states), by_loops(found[0], states, 4, dropped=(1, 2, 7))):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)
    found[0].states(states)[-1].square().sum().backward()
    for parameter in found[0].arch_parameters():
        assert parameter.grad.isfinite().all() and not parameter.grad[[1, 2, 7]].any() and parameter.grad.any()


def test_states_stay_in_channels_last():
    _, found = cells(PartialChannels())
    for index, cell in enumerate(found):
        states = [torch.randn(2, 8 * 2**index, 8, 8).contiguous(memory_format=torch.channels_last) for _ in range(2)]
        assert all(state.is_contiguous(memory_format=torch.channels_last) for state in cell.states(states))


def test_edge_weights_are_architecture_and_scores_hold_them():
    network, found = cells(PartialChannels())
    beta = found[0]._arch_beta
    assert beta.shape == (14,) and [p.shape for p in found[0].arch_parameters()] == [(14, 4), (14,)]
    assert found[1]._arch_beta is found[2]._arch_beta is not beta, 'one for each type of cell'
    gates = torch.cat([beta[list(found[0].layout.edges_into(node))].softmax(0) for node in range(4)])
    expected = found[0]._arch_alpha.softmax(-1) * gates[:, None]
    torch.testing.assert_close(found[0].scores().probabilities, expected.detach())
    loss = network(torch.randn(2, 3, 8, 8)).square().sum()
    assert all(gradient.any() for gradient in torch.autograd.grad(loss, [found[0]._arch_beta, found[1]._arch_beta]))


def test_operations_are_as_narrow_as_their_part():
    for k in (1, 2, 4):
        _, found = cells(PartialChannels(k, False))
        assert [cell.ops[0][0]['dil_conv_3x3'][1].in_channels for cell in found] == [8 // k, 16 // k, 32 // k]
        assert not hasattr(found[0], '_arch_beta')


def test_on_the_hub():
    _, found = cells(PartialChannels(), HubDARTS(width=8, num_cells=3, dataset='cifar'))
    states = [torch.randn(2, 8, 8, 8) for _ in range(2)]
    assert found[0].has_hidden_none
    for mine, theirs in zip(found[0].states(states), by_loops(found[0], states, 4)):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


def test_what_it_tells_the_cell():
    assert PartialChannels().share == 4 and PartialChannels().normalises_edges
    assert PartialChannels(k=6, edge_normalization=False).share == 6
    assert not PartialChannels(k=6, edge_normalization=False).normalises_edges
    assert PartialChannels().extra is None and not PartialChannels().is_random
    assert PartialChannels().extra_weight(Moment()) == 0.0
    assert eval(repr(PartialChannels(2))) == PartialChannels(2) and hash(PartialChannels(2)) == hash(PartialChannels(2))


def test_refused():
    with pytest.raises(ValueError, match='k must be at least 1 part of the channels, as 4, not 0'):
        PartialChannels(k=0)
    with pytest.raises(ValueError, match=r'PartialChannels\(k=3\) cannot split 8 channels .* multiple of k as width'):
        cells(PartialChannels(3))
