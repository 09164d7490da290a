"""The relaxed cell against plain loops."""

import pytest
import torch

from nni_wcnas import Magnitude, Search
from nni_wcnas.contracts import Choice, Selection
from nni_wcnas.functional.mixing import running_sum, stacked_sum
from nni_wcnas.functional.scores import entropy
from nni_wcnas.spaces import DARTS
from nni_wcnas.supernet import RelaxedCell

OPERATIONS = ('none', 'skip_connect', 'sep_conv_3x3')


def _cells(operations=OPERATIONS, hidden=False, **search):
    torch.manual_seed(0)
    space = DARTS(width=4, num_cells=4, num_classes=5, operations=operations)
    for cell in space.cells:
        cell.hidden_none = hidden
    supernet = Search(**search).mutate_model(space).double()
    return supernet, [module for module in supernet.modules() if isinstance(module, RelaxedCell)]


@pytest.mark.parametrize(
    ('operations', 'hidden'),
    [(OPERATIONS, False), (OPERATIONS, True), (OPERATIONS[1:], False), (OPERATIONS[1:], True)],
    ids=['explicit none', 'explicit none of a hub', 'no none', 'hidden none'],
)
@pytest.mark.parametrize('channels_last', [True, False])
def test_forward_against_a_plain_loop(operations, hidden, channels_last):
    _, cells = _cells(operations, hidden, channels_last=channels_last)
    for cell in cells:
        channels = [
            next(p for p in getattr(cell.preprocessor, name).parameters()).shape[1]
            for name in ('before_previous', 'previous')
        ]
        size = 8
        inputs = [
            torch.randn(
                2,
                channels[0],
                size * (1 + hasattr(cell.preprocessor.before_previous, 'conv_even')),
                size * (1 + hasattr(cell.preprocessor.before_previous, 'conv_even')),
                dtype=torch.float64,
            ),
            torch.randn(2, channels[1], size, size, dtype=torch.float64),
        ]
        _, output = cell(inputs)
        states, edge = cell.preprocessor(inputs), 0
        for node in range(4):
            total = 0
            for source in range(2 + node):
                weights = cell._arch_alpha[edge].exp() / cell._arch_alpha[edge].exp().sum()
                for k, name in enumerate(operations):
                    total = total + weights[k] * cell.ops[node][source][name](states[source])
                edge += 1
            states.append(total)
        torch.testing.assert_close(output, torch.cat(states[2:], 1), rtol=0, atol=1e-12)


def test_cells_of_one_label_share_one_matrix_and_labels_do_not():
    supernet, cells = _cells()
    normal = {id(cell._arch_alpha) for cell in cells if cell.label == 'normal'}
    reduce = {id(cell._arch_alpha) for cell in cells if cell.label == 'reduce'}
    assert len(normal) == len(reduce) == 1 and normal != reduce
    assert [cell._arch_alpha.shape for cell in cells] == [(14, 3)] * 4
    assert _cells(OPERATIONS[1:], hidden=True)[1][0]._arch_alpha.shape == (14, 3), 'two operations and a hidden none'
    assert _cells(OPERATIONS[1:])[1][0]._arch_alpha.shape == (14, 2), 'the official networks hide nothing'


def test_one_hot_logits_make_the_supernet_the_frozen_network():
    supernet, cells = _cells(('none', 'max_pool_3x3', 'skip_connect', 'sep_conv_3x3'))
    with torch.no_grad():
        for cell in cells:
            cell._arch_alpha.fill_(0.0)
            cell._arch_alpha[:, 0] = 1e3  # none
            for node in range(4):
                for source in (0, 1):
                    cell._arch_alpha[cell.layout.edges_into(node)[source]] = torch.tensor([0.0, 0.0, 0.0, 1e3])
    sample = {}
    for cell in cells:
        sample.update(cell.export(sample))
    assert {value for key, value in sample.items() if '/op_' in key} == {'sep_conv_3x3'}
    frozen = supernet.freeze(sample).double()
    for cell, relaxed in zip(frozen.cells, cells):
        cell.preprocessor.load_state_dict(relaxed.preprocessor.state_dict())
        for node in range(4):
            for k in range(2):
                (source,) = sample[f'{relaxed.label}/input_{node + 2}_{k}']
                cell.ops[node][k].load_state_dict(relaxed.ops[node][source]['sep_conv_3x3'].state_dict())
    for part in ('stem', 'classifier'):
        getattr(frozen, part).load_state_dict(getattr(supernet, part).state_dict())
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(supernet(x), frozen(x), rtol=0, atol=1e-9)


def test_export_asks_the_selection_and_probabilities_name_the_hidden_none():
    class First(Selection):
        def select(self, scores):
            node = tuple(Choice(scores.layout.operations[0], k) for k in range(2))
            return (node,) * scores.layout.num_nodes

    _, cells = _cells(OPERATIONS[1:], hidden=True, selection=First())
    sample = cells[0].export({})
    assert {value for key, value in sample.items() if '/op_' in key} == {'skip_connect'}
    assert cells[0].export(dict(sample)) == {}, 'a cell type is exported once'
    probabilities = cells[0].export_probs({})
    assert set(probabilities) == {f'normal/{i}_{j}' for i in range(2, 6) for j in range(i)}
    assert set(probabilities['normal/2_0']) == {'skip_connect', 'sep_conv_3x3', 'none'}
    assert sum(probabilities['normal/2_0'].values()) == pytest.approx(1.0)


def test_default_selection_is_the_official_rule():
    _, cells = _cells()
    assert cells[0]._selection == Magnitude(by='probability')


@pytest.mark.parametrize('hidden', [0, 1])
def test_both_sums_are_the_weighted_sum(hidden):
    torch.manual_seed(0)
    outputs = [torch.randn(2, 3, 4, 4, dtype=torch.float64) for _ in range(5)]
    weights = torch.rand(5 + hidden, dtype=torch.float64)
    expected = sum(w * o for w, o in zip(weights.tolist(), outputs))
    for mix in (stacked_sum, running_sum):
        torch.testing.assert_close(mix(outputs, weights), expected, rtol=0, atol=1e-12)


def test_running_sum_keeps_channels_last():
    outputs = [torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last) for _ in range(2)]
    assert running_sum(outputs, torch.rand(2)).is_contiguous(memory_format=torch.channels_last)


def test_entropy():
    assert entropy(torch.full((3, 4), 0.25)).item() == pytest.approx(1.3862943)
    assert entropy(torch.eye(3)).item() == 0.0
