"""Every space of the registry: a tiny supernet takes a step, and what it exports can be built."""

import math

import pytest
import torch
from pytorch_lightning.callbacks import LambdaCallback
from torch import nn
from worst_case_search import run

from nni_wcnas import HessianEigenvalue, Search, Unrolled, presets
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.hypergradient import inner_gradient
from nni_wcnas.functional.second_pass import quick_second_pass
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
    'view_network': {'width': 4},
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
@pytest.mark.parametrize('by', ['finite_difference', 'exact'])
def test_unrolled_without_cells(search, name, by):
    strategy = Search(hypergradient=Unrolled(by=by))
    search(strategy, _space(name), images=2, batch_size=2, size=SIZE.get(name, 8), limit_val_batches=0)
    slopes = [alpha.grad for alpha in strategy.oneshot_module.arch_parameters()]
    assert all(slope.isfinite().all() for slope in slopes) and any(slope.any() for slope in slopes)


@pytest.mark.parametrize('reuse_gradient', [False, True])
def test_a_worst_case_search_in_a_space_with_hard_sigmoids(reuse_gradient):
    """Of which torch has no second derivatives; also where the training pass moves running statistics."""
    space, moved = _space('mobilenetv3'), []
    look = LambdaCallback(
        on_train_start=lambda trainer, module: moved.append(_alphas(module)),
        on_train_end=lambda trainer, module: moved.append(_alphas(module)),
    )
    strategy = presets.wcnas(every=1, reuse_gradient=reuse_gradient)
    assert strategy.hypergradient == Unrolled(by='exact')
    run(strategy, space=space, callbacks=[look], limit_train_batches=2, limit_val_batches=0)
    assert moved[1].isfinite().all() and (moved[0] != moved[1]).all()
    sample = next(strategy.list_models()).sample
    assert _space('mobilenetv3').freeze(sample).eval()(torch.randn(2, 3, 16, 16)).shape == (2, 10)


def _alphas(module):
    return torch.cat([alpha.detach().flatten().clone() for alpha in module.arch_parameters()])


def test_the_largest_eigenvalue_in_a_space_with_hard_sigmoids(search):
    strategy = Search(schedule=HessianEigenvalue(every=1))
    search(strategy, _space('mobilenetv3'), images=4, batch_size=4, size=32)
    assert math.isfinite(strategy.oneshot_module.trainer.callback_metrics['eigenvalue'])


def test_products_in_a_space_with_hard_sigmoids():
    """In double precision: the exact one is that of a finite difference which crosses no kink."""
    torch.manual_seed(0)
    supernet = Search(channels_last=False).mutate_model(_space('mobilenetv3')).double()
    for module in supernet.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    kinds = {type(module) for module in supernet.modules()}
    assert {nn.Hardswish, nn.Hardsigmoid} <= kinds
    alphas = {name: p for name, p in supernet.named_parameters() if '_arch_alpha' in name}
    weights = {name: p for name, p in supernet.named_parameters() if name not in alphas}
    images, labels = torch.randn(4, 3, 32, 32).double(), torch.tensor([0, 1, 2, 3])

    def loss(parameters, targets):
        with frozen_statistics(supernet), quick_second_pass(supernet):
            logits = torch.func.functional_call(supernet, {**parameters, **targets}, (images,))
        return nn.functional.cross_entropy(logits, labels)

    torch.manual_seed(1)
    vector = {name: torch.randn_like(p) for name, p in weights.items()}
    exact, difference = (
        inner_gradient(loss, weights, alphas, by, radius=1e-6).product(vector) for by in ('exact', 'finite_difference')
    )
    flat = [torch.cat([value.flatten() for value in product.values()]) for product in (exact, difference)]
    assert flat[0].abs().max() > 1e-2
    torch.testing.assert_close(flat[1], flat[0], rtol=1e-5, atol=1e-6 * flat[0].abs().max().item())


@pytest.mark.parametrize('name', ['hub_nasbench201', 'proxylessnas', 'mobilenetv3'])
def test_what_acts_on_cells_says_so(name):
    with pytest.raises(ValueError, match='PartialChannels acts on cells, and this space has none: leave transf'):
        Search(transforms=(PartialChannels(),)).mutate_model(_space(name))


def test_names_are_those_of_architecture_files():
    assert set(list_options('space')) == set(SPACES) - {'other'}
