"""S1 to S4: the published tables, and what they forbid is never computed, chosen or built."""

import pytest
import torch
from torch import nn

from nni_wcnas import Search
from nni_wcnas.spaces import DARTS, s1, s2, s3, s4
from nni_wcnas.supernet.choices import cells_by_label, relaxed_cells

WORDS = {
    'skip': 'skip_connect',
    'max': 'max_pool_3x3',
    'avg': 'avg_pool_3x3',
    'sep3': 'sep_conv_3x3',
    'dil3': 'dil_conv_3x3',
    'dil5': 'dil_conv_5x5',
}
PUBLISHED = {
    'normal': {
        (0, 2): 'skip dil3', (1, 2): 'skip dil5',
        (0, 3): 'skip dil5', (1, 3): 'skip sep3', (2, 3): 'skip dil3',
        (0, 4): 'max skip', (1, 4): 'skip sep3', (2, 4): 'skip sep3', (3, 4): 'skip dil3',
        (0, 5): 'skip sep3', (1, 5): 'max skip', (2, 5): 'skip dil3', (3, 5): 'dil3 dil5', (4, 5): 'dil3 dil5',
    },
    'reduce': {
        (0, 2): 'max avg', (1, 2): 'max dil3',
        (0, 3): 'max avg', (1, 3): 'max avg', (2, 3): 'skip dil5',
        (0, 4): 'max avg', (1, 4): 'max sep3', (2, 4): 'skip dil3', (3, 4): 'skip dil5',
        (0, 5): 'max avg', (1, 5): 'max avg', (2, 5): 'skip dil5', (3, 5): 'skip dil5', (4, 5): 'skip dil5',
    },
}  # fmt: skip


@pytest.fixture(scope='module')
def supernets():
    """Both ways of computing cells."""
    return {fast: Search(channels_last=fast).mutate_model(s1(4, 3)).double() for fast in (True, False)}


@pytest.mark.parametrize('label', PUBLISHED)
def test_s1_entry_by_entry(supernets, label):
    cell = cells_by_label(supernets[True])[label]
    for row, edge in enumerate(cell.layout.edges):
        open_ = [name for k, name in enumerate(cell.layout.operations) if (row, k) not in cell.mixer.pruned]
        assert sorted(open_) == sorted(WORDS[word] for word in PUBLISHED[label][edge].split()), edge
    assert len(cell.layout.edges) == len(PUBLISHED[label]) == 14


@pytest.mark.parametrize(
    ('make', 'operations'),
    [
        (s2, ('skip_connect', 'sep_conv_3x3')),
        (s3, ('none', 'skip_connect', 'sep_conv_3x3')),
        (s4, ('noise', 'sep_conv_3x3')),
    ],
)
def test_s2_to_s4_have_one_set_on_every_edge(make, operations):
    cells = cells_by_label(Search().mutate_model(make(4, 3)))
    for cell in cells.values():
        assert cell.layout.operations == operations and not cell.mixer.pruned
        assert cell.logits.shape == (14, len(operations)), 'nothing is hidden'


@pytest.mark.parametrize('fast', [True, False])
def test_what_is_forbidden_is_not_computed(supernets, fast):
    supernet = supernets[fast]
    ruined = 0
    state = {name: value.clone() for name, value in supernet.state_dict().items()}
    for cell in relaxed_cells(supernet):
        for row, column in cell.mixer.pruned:
            edge = cell.layout.edges[row]
            operation = cell.ops[edge.target - 2][edge.source][cell.layout.operations[column]]
            for tensor in (*operation.parameters(), *operation.buffers()):
                tensor.data.fill_(float('nan') if tensor.is_floating_point() else 0)
                ruined += 1
    output = supernet(torch.randn(2, 3, 8, 8, dtype=torch.float64))
    output.sum().backward()
    assert ruined and output.isfinite().all()
    for cell in cells_by_label(supernet).values():
        gradient = cell.logits.grad
        forbidden = torch.zeros_like(gradient, dtype=torch.bool)
        forbidden[tuple(zip(*cell.mixer.pruned))] = True
        assert (gradient[forbidden] == 0).all() and (gradient[~forbidden] != 0).any()
    supernet.load_state_dict(state)


def test_what_is_forbidden_is_never_exported(supernets):
    supernet, generator = supernets[True], torch.Generator().manual_seed(0)
    chosen = set()
    for _ in range(30):
        sample = {}
        for label, cell in cells_by_label(supernet).items():
            with torch.no_grad():
                cell.logits.copy_(torch.randn(cell.logits.shape, generator=generator) * 3)
            sample |= cell.export({})
            for target in range(2, 6):
                for k in range(2):
                    (source,) = sample[f'{label}/input_{target}_{k}']
                    word = next(w for w, name in WORDS.items() if name == sample[f'{label}/op_{target}_{k}'])
                    assert word in PUBLISHED[label][source, target].split()
                    chosen.add(word)
    assert chosen == set(WORDS)
    assert supernet.freeze(sample)(torch.randn(2, 3, 8, 8)).shape == (2, 10)
    message = "normal/op_2_0 is 'sep_conv_3x3', but the edge from state 0 to 2 has skip_connect or dil_conv_3x3; take"
    with pytest.raises(ValueError, match=message):
        supernet.freeze({**sample, 'normal/op_2_0': 'sep_conv_3x3', 'normal/input_2_0': [0]})


def test_logits_of_what_is_forbidden_have_no_probability(supernets):
    for cell in relaxed_cells(supernets[False]):
        rows = cell.scores().probabilities
        assert ((rows > 0).sum(1) == 2).all()
        torch.testing.assert_close(rows.sum(1), torch.ones(14, dtype=rows.dtype))


@pytest.mark.parametrize('fast', [True, False])
def test_any_table(fast):
    rows = [['skip_connect']] * 2
    space = DARTS(4, 3, operations=('none', 'skip_connect'), num_nodes=1, allowed={'reduce': rows})
    cells = cells_by_label(Search(channels_last=fast).mutate_model(space))
    assert cells['normal'].mixer.pruned == set() and cells['reduce'].mixer.pruned == {(0, 0), (1, 0)}
    assert space(torch.randn(2, 3, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ('allowed', 'message'),
    [
        ({'middle': []}, "allowed: 'middle' is neither 'normal' nor 'reduce'"),
        ({'normal': [['none', 'skip_connect']]}, 'allowed: normal has 1 edges and a cell 14; give them all'),
        ({'normal': [['sep_conv_3x3']] * 14}, "allowed: 'sep_conv_3x3' is not among the operations none, skip_connect"),
        ({'reduce': [['none']] * 14}, 'allowed: the edge of reduce from state 0 to 2 has no operation besides none'),
        ({'reduce': [[]] * 14}, 'allowed: the edge of reduce from state 0 to 2 has no operation besides none'),
    ],
)
def test_bad_tables(allowed, message):
    with pytest.raises(ValueError, match=message):
        DARTS(4, 3, operations=('none', 'skip_connect'), allowed=allowed)


@pytest.mark.parametrize('stem', ['cifar', 'imagenet'])
def test_stems(stem):
    """On 224 pixels the ImageNet stem gives 56 and 28, and the first cell halves its first input."""
    space = DARTS(4, 3, 5, ('skip_connect', 'max_pool_3x3'), stem=stem)
    seen = []
    for module in (space.stem, space.second_stem, *space.cells):
        module.register_forward_hook(lambda module, inputs, output: seen.append(output))
    size = 224 if stem == 'imagenet' else 32
    assert Search().mutate_model(space)(torch.randn(2, 3, size, size)).shape == (2, 5)
    sides = [56, 28, 28] if stem == 'imagenet' else [32, 32, 32]
    assert [output.shape[-1] for output in seen[:2]] == sides[:2] and {x.shape[1] for x in seen[:2]} == {12}
    strided = [conv for conv in space.modules() if isinstance(conv, nn.Conv2d) and conv.stride == (2, 2)]
    assert len(strided) == (3 if stem == 'imagenet' else 0)
    with pytest.raises(ValueError, match="stem must be 'cifar' or 'imagenet', not 'large'"):
        DARTS(stem='large')
