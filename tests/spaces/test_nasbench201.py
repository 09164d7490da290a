"""NAS-Bench-201: the published sizes, the strings, and the relaxed cell against plain loops."""

import itertools

import pytest
import torch
from nni.nas.hub.pytorch import NasBench201
from nni.nas.nn.pytorch import model_context
from torch import nn

from nni_wcnas import Search
from nni_wcnas.spaces import Architecture, NASBench201, from_string, to_string
from nni_wcnas.spaces.architecture_string import from_hub
from nni_wcnas.supernet import RelaxedDenseCell
from nni_wcnas.supernet.choices import cells_by_label, relaxed_cells
from nni_wcnas.transform import PartialChannels

TEXT = '|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|'
SAMPLE = {
    'cell/1_0': 'nor_conv_3x3',
    'cell/2_0': 'none',
    'cell/2_1': 'skip_connect',
    'cell/3_0': 'avg_pool_3x3',
    'cell/3_1': 'nor_conv_1x1',
    'cell/3_2': 'nor_conv_3x3',
}
ALL = '|{0}~0|+|{0}~0|{0}~1|+|{0}~0|{0}~1|{0}~2|'


def _parameters(text):
    return sum(p.numel() for p in NASBench201().freeze(from_string(text)).parameters())


def test_published_numbers_of_parameters():
    """The benchmark lists 1.531546 and 0.073306 million for CIFAR-10."""
    assert _parameters(ALL.format('nor_conv_3x3')) == 1_531_546
    assert _parameters(ALL.format('avg_pool_3x3')) == _parameters(ALL.format('none')) == 73_306


def test_strings_both_ways():
    assert from_string(TEXT) == SAMPLE and to_string(SAMPLE) == TEXT
    assert to_string({**SAMPLE, 'width': 3}) == TEXT
    names = ('none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3')
    for operations in itertools.islice(itertools.product(names, repeat=6), 0, None, 97):
        sample = dict(zip(SAMPLE, operations))
        assert from_string(to_string(sample)) == sample


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', "'' has 1 nodes, joined by +, but a cell has 3; give them all"),
        ('|none~0|+|none~0|none~1|', 'has 2 nodes'),
        (TEXT + '+|none~0|', 'has 4 nodes'),
        (TEXT[1:], "node 'nor_conv_3x3~0|' does not begin and end with a bar"),
        (TEXT[:-1], 'does not begin and end with a bar'),
        (TEXT.replace('|none~0|', '|'), "node '|skip_connect~1|' has 1 edges, but it is number 2; give it 2"),
        (TEXT.replace('none~0', 'none~1'), "edge 'none~1' of node '|none~1|skip_connect~1|' is not from state 0; end"),
        (TEXT.replace('none~0', 'none'), "edge 'none' of node"),
        (TEXT.replace('none~0', 'nor_conv~0'), "edge 'nor_conv~0' has operation 'nor_conv': did you mean 'nor_conv_"),
    ],
)
def test_bad_strings(text, message):
    with pytest.raises(ValueError) as caught:
        from_string(text)
    assert message in str(caught.value) and '\n' not in str(caught.value)


def test_bad_samples():
    with pytest.raises(ValueError, match='cell/3_2 is missing; give the operation of each of the edges cell/1_0, '):
        to_string({key: value for key, value in SAMPLE.items() if key != 'cell/3_2'})
    with pytest.raises(ValueError, match=r"cell/2_0 has operation 'max_pool_3x3': did you mean 'avg_pool_3x3'\?"):
        to_string({**SAMPLE, 'cell/2_0': 'max_pool_3x3'})


def test_skeleton():
    space = NASBench201(width=4, num_cells=2, num_classes=7)
    assert [type(cell).__name__ for cell in space.cells] == (
        ['DenseCell'] * 2 + ['_Residual'] + ['DenseCell'] * 2 + ['_Residual'] + ['DenseCell'] * 2
    )
    seen = []
    for cell in space.cells:
        cell.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[1:])))
    frozen = space.freeze(SAMPLE)
    for cell in frozen.cells:
        cell.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[1:])))
    assert frozen(torch.randn(2, 3, 8, 8)).shape == (2, 7)
    assert seen == [(4, 8, 8)] * 2 + [(8, 4, 4)] * 3 + [(16, 2, 2)] * 3


def test_norms_of_candidates_are_affine_in_the_found_network_alone():
    def affine(network):
        norms = {name: m.affine for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
        return {value for name, value in norms.items() if '.ops.' in name}, {
            value for name, value in norms.items() if '.ops.' not in name
        }

    assert affine(Search().mutate_model(NASBench201(4, 1))) == ({False}, {True})
    assert affine(NASBench201(4, 1).freeze(SAMPLE)) == ({True}, {True})
    with model_context(SAMPLE):
        built = NASBench201(4, 1)
    shapes = {name: value.shape for name, value in built.state_dict().items()}
    assert shapes == {name: value.shape for name, value in NASBench201(4, 1).freeze(SAMPLE).state_dict().items()}


@pytest.mark.parametrize('fast', [True, False])
@pytest.mark.parametrize('recompute', [True, False])
def test_relaxed_cell_against_a_plain_loop(fast, recompute):
    torch.manual_seed(0)
    supernet = Search(channels_last=fast, recompute_cells=recompute).mutate_model(NASBench201(4, 1)).double()
    cells = relaxed_cells(supernet)
    assert [type(cell) for cell in cells] == [RelaxedDenseCell] * 3 and len({id(cell.logits) for cell in cells}) == 1
    cell = cells[1]
    with torch.no_grad():
        cell.logits.normal_()
    x = torch.randn(3, 8, 6, 6, dtype=torch.float64)
    states = [x]
    rows = iter(cell.logits.softmax(1))
    for node in range(3):
        total = 0
        for source in range(node + 1):
            weights = next(rows)
            for k, name in enumerate(('none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3')):
                total = total + weights[k] * cell.ops[node][source][name](states[source])
        states.append(total)
    torch.testing.assert_close(cell(x), states[-1], rtol=0, atol=1e-12)
    assert torch.autograd.grad(cell(x).square().sum(), cell.logits)[0].abs().sum() > 0


def test_each_edge_keeps_its_strongest_operation_none_included():
    supernet = Search().mutate_model(NASBench201(4, 1))
    (cell,) = cells_by_label(supernet).values()
    with torch.no_grad():
        for row, name in enumerate(SAMPLE.values()):
            cell.logits[row, cell.layout.operations.index(name)] = 5.0
    assert cell.export({}) == SAMPLE and cell.export(dict(SAMPLE)) == {}
    assert set(cell.export_probs({})) == set(SAMPLE) == set(supernet.simplify())
    assert supernet.freeze(cell.export({}))(torch.randn(2, 3, 8, 8)).shape == (2, 10)


def test_one_hot_logits_make_the_supernet_the_frozen_network():
    supernet = Search().mutate_model(NASBench201(4, 1)).double()
    frozen = supernet.freeze(SAMPLE).double()
    for cell, relaxed in zip(frozen.cells, supernet.cells):
        if not isinstance(relaxed, RelaxedDenseCell):
            cell.load_state_dict(relaxed.state_dict())
            continue
        with torch.no_grad():
            relaxed.logits.fill_(0.0)
            for row, (edge, name) in enumerate(zip(relaxed.layout.edges, SAMPLE.values())):
                relaxed.logits[row, relaxed.layout.operations.index(name)] = 1e3
                state = relaxed.ops[edge.target - 1][edge.source][name].state_dict()
                cell.ops[edge.target - 1][edge.source].load_state_dict(state, strict=False)  # Scale 1 and shift 0.
    for part in ('stem', 'last', 'classifier'):
        getattr(frozen, part).load_state_dict(getattr(supernet, part).state_dict())
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(supernet(x), frozen(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize('fast', [True, False])
def test_partial_channels(fast):
    torch.manual_seed(0)
    supernet = Search(transforms=(PartialChannels(k=2),), channels_last=fast).mutate_model(NASBench201(8, 1))
    widths = [cell.ops[0][0]['nor_conv_3x3'][1].in_channels for cell in relaxed_cells(supernet)]
    assert widths == [4, 8, 16]
    supernet(torch.randn(2, 3, 8, 8)).sum().backward()
    assert supernet.freeze(relaxed_cells(supernet)[0].export({})) is not None
    with pytest.raises(ValueError, match=r'PartialChannels\(k=4\) cannot split 4 channels'):
        Search(transforms=(PartialChannels(k=4),)).mutate_model(NASBench201(4, 1))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'operations': ('conv',)}, "operations must hold only none, .* not 'conv'"),
        ({'operations': ('none',)}, 'at least one besides none'),
        ({'operations': ('skip_connect',) * 2}, 'must be distinct'),
        ({'width': 0}, 'width must be at least 1'),
        ({'num_classes': 1}, 'num_classes must be at least 2'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        NASBench201(**arguments)


def test_samples_of_nnis_hub():
    """The same paths through the cell, for all ways to connect it; the same operations by its other names."""
    state = torch.ones(1, 2, 3, 3, dtype=torch.float64)
    for names in itertools.product(('none', 'skip_connect'), repeat=6):
        hub = dict(zip(('cell/0_1', 'cell/0_2', 'cell/1_2', 'cell/0_3', 'cell/1_3', 'cell/2_3'), names))
        with model_context(hub):
            theirs = NasBench201(2, 1).cells[0]
        ours = NASBench201(width=2, num_cells=1).freeze(from_hub(hub)).cells[0]
        assert torch.equal(ours(state), theirs(state))
    hub = {'cell/0_1': 'conv_3x3', 'cell/0_2': 'none', 'cell/1_2': 'skip_connect', 'cell/0_3': 'avg_pool_3x3',
           'cell/1_3': 'conv_1x1', 'cell/2_3': 'conv_3x3', 'width': 4}
    assert from_hub(hub) == SAMPLE
    assert Architecture('hub_nasbench201', hub).string == TEXT
    with pytest.raises(ValueError, match='cell/3_2 is missing'):
        to_string(from_hub({key: value for key, value in hub.items() if key != 'cell/2_3'}))
