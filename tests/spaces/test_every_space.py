"""Every space of the registry: a tiny supernet takes a step, and what it exports can be built."""

import pytest
import torch

from nni_wcnas import Search, Unrolled
from nni_wcnas.options import list_options, option
from nni_wcnas.spaces.architecture import (
    SPACES,
    SPACES_WITH_CELLS,
    Architecture,
    load_architecture,
    save_architecture,
)
from nni_wcnas.supernet.choices import cells_by_label
from nni_wcnas.transform import PartialChannels

MOBILE = {'base_widths': (8,) * 9}
TINY = {
    'hub_nasbench201': {'stem_out_channels': 4, 'num_modules_per_stack': 1},
    'nasbench201': {'width': 4, 'num_cells': 1},
    'proxylessnas': {'num_labels': 10, **MOBILE},
    'mobilenetv3': {
        'num_labels': 10,
        'width_multipliers': 1.0,
        'expand_ratios': (1.0, 2.0),
        'depth_range': (1, 2),
        **MOBILE,
    },
}
SIZE = {'proxylessnas': 32, 'mobilenetv3': 32}


def _space(name):
    return option('space', name).factory(**TINY.get(name, {'width': 4, 'num_cells': 3}))


@pytest.mark.parametrize('name', list_options('space'))
def test_search_and_freeze(search, name, tmp_path):
    torch.manual_seed(0)
    size, space = SIZE.get(name, 8), _space(name)
    strategy = search(Search(), space, images=2, batch_size=2, size=size)
    sample = next(strategy.list_models()).sample
    frozen = _space(name).freeze(sample)
    assert frozen.eval()(torch.randn(2, 3, size, size)).shape == (2, 10)
    operations = getattr(space, 'operations', getattr(space, 'op_candidates', ()))
    architecture = Architecture(name, dict(sample), tuple(operations))
    assert load_architecture(save_architecture(architecture, tmp_path / 'a.json')) == architecture
    cells = cells_by_label(strategy.supernet)
    assert set(architecture.cells) == set(cells) and (name in SPACES_WITH_CELLS) == bool(cells)
    for label, cell in cells.items():
        assert cell.has_hidden_none == name.startswith('hub_'), "NNI's cells have a hidden none, the official ones not"
        assert len(cell.genotype()) == len(architecture.cell(label)) == cell.layout.num_nodes


@pytest.mark.parametrize('name', ['s1', 's4', 'nasbench201'])
@pytest.mark.parametrize('by', ['finite_difference', 'exact'])
def test_unrolled_where_candidates_are_missing_or_random(search, name, by):
    strategy = search(Search(hypergradient=Unrolled(by=by)), _space(name), images=2, batch_size=2)
    assert _space(name).freeze(next(strategy.list_models()).sample) is not None


@pytest.mark.parametrize('name', ['hub_nasbench201', 'proxylessnas', 'mobilenetv3'])
def test_what_acts_on_cells_says_so(name):
    with pytest.raises(ValueError, match='PartialChannels acts on cells, and this space has none: leave transf'):
        Search(transforms=(PartialChannels(),)).mutate_model(_space(name))


def test_names_are_those_of_architecture_files():
    assert set(list_options('space')) == set(SPACES) - {'other'}
