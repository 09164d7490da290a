"""Our DARTS space: official details, refusals."""

import pytest
import torch
from torch import nn

from nni_wcnas.spaces import DARTS
from nni_wcnas.spaces.operations import PRIMITIVES


def _parameters(**arguments):
    from nni_wcnas import Search

    return Search().mutate_model(DARTS(**arguments))


def test_official_supernet_has_the_published_number_of_parameters():
    """1,930,618 weights of the search network with 16 channels and 8 cells (quark0/darts prints 1.930618 MB)."""
    supernet = _parameters()
    assert sum(p.numel() for name, p in supernet.named_parameters() if '_arch_alpha' not in name) == 1_930_618


def test_only_the_stem_has_affine_batch_norms_and_pools_are_normalised():
    supernet = _parameters(width=4, num_cells=3)
    norms = {name: m for name, m in supernet.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert [name for name, m in norms.items() if m.affine] == ['stem.1']
    assert any(name.startswith('cells.0.ops.0.0.max_pool_3x3') for name in norms)


@pytest.mark.parametrize(
    ('arguments', 'parts'),
    [
        ({'num_classes': 7}, 'classifier'),
        ({'width': 8}, 'stem'),
        ({'stem_multiplier': 2}, 'stem'),
        ({'num_cells': 4}, 'cells'),
        ({'num_nodes': 2}, 'cells'),
        ({'operations': ('none', 'skip_connect', 'sep_conv_3x3')}, 'cells'),
    ],
)
def test_each_argument_changes_its_part(arguments, parts):
    def shapes(**changed):
        space = _parameters(**{'width': 4, 'num_cells': 3, **changed})
        return {name: p.shape for name, p in space.named_parameters()}, space

    (base, _), (other, space) = shapes(), shapes(**arguments)
    assert {
        name
        for name in base.keys() ^ other.keys() | {n for n in base.keys() & other.keys() if base[n] != other[n]}
        if name.startswith(parts)
    }
    assert space(torch.randn(2, 3, 16, 16)).shape == (2, arguments.get('num_classes', 10))


def test_reductions_stand_at_thirds():
    labels = [cell.label for cell in DARTS(width=2, num_cells=8).cells]
    assert labels == ['normal', 'normal', 'reduce', 'normal', 'normal', 'reduce', 'normal', 'normal']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'operations': ('sep_conv_9x9',)}, "operations must hold only none, .* not 'sep_conv_9x9'"),
        ({'operations': ('none',)}, 'at least one besides none'),
        ({'operations': ('skip_connect',) * 2}, 'must be distinct'),
        ({'width': 3}, 'width must be an even number'),
        ({'num_cells': 2}, 'num_cells must be at least 3'),
        ({'num_classes': 1}, 'num_classes must be at least 2'),
        ({'num_nodes': 0}, 'num_nodes must be at least 1'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DARTS(**arguments)


def test_none_comes_first_among_the_official_operations():
    assert PRIMITIVES == (
        'none',
        'max_pool_3x3',
        'avg_pool_3x3',
        'skip_connect',
        'sep_conv_3x3',
        'sep_conv_5x5',
        'dil_conv_3x3',
        'dil_conv_5x5',
    )
