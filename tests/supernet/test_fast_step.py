"""Whole search steps with the fast cell and with the plain one end in the same numbers."""

import pytest
import torch
from nni.nas.hub.pytorch import DARTS as HubDARTS
from staged_search import run

import nni_wcnas as wc

SPACES = {
    'official': lambda: wc.spaces.DARTS(width=8, num_cells=3, num_nodes=2),
    'hub': lambda: HubDARTS(width=16, num_cells=3, dataset='cifar'),
}


def searched(preset, space, **arguments):
    """Weights, statistics, architecture and momentum after an epoch of two batches, the last one of one example."""
    torch.manual_seed(0)
    strategy = wc.presets.PRESETS[preset](schedule=wc.SingleStage(), **arguments)
    members = {name: getattr(strategy, name) for name in ('objective', 'hypergradient', 'smoothing', 'relaxation')}
    members |= {'transforms': strategy.transforms, 'fast_cell': strategy.fast_cell, 'arc_learning_rate': 0.01}
    found = run(
        members={**members, 'recompute_cells': strategy.recompute_cells},
        space=SPACES[space](),
        batch_size=15,
        has_tester=preset == 'wcnas',
        precision='64-true',
    )
    module = found.oneshot_module
    buffers = module.trainer.optimizers[0].state_dict()['state']
    momentum = {f'momentum.{key}': value['momentum_buffer'] for key, value in buffers.items()}
    return {**module.state_dict(), **momentum}


def assert_alike(one, other):
    assert one.keys() == other.keys() and len(one) > 100
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=1e-10)


OFFICIAL = ('darts_2nd', 'pc_darts', 'pr_darts', 'gdas', 'sdarts_adv', 'wcnas')
CASES = [*((name, 'official') for name in OFFICIAL), ('darts', 'hub')]


@pytest.mark.parametrize(('preset', 'space'), CASES)
def test_fast_against_plain(preset, space):
    arguments = {'every': 1} if preset == 'wcnas' else {}
    fast, plain = (searched(preset, space, fast_cell=fast, **arguments) for fast in (True, False))
    assert_alike(fast, plain)
    assert any(not value.equal(plain[name]) for name, value in fast.items()), 'the fast cell was not used'


@pytest.mark.parametrize('preset', ['darts_2nd', 'sdarts_rs', 'sdarts_adv'])
def test_recomputed_against_kept(preset):
    """Also while a smoothing holds other weights."""
    kept, recomputed = (searched(preset, 'official', recompute_cells=value) for value in (False, True))
    assert_alike(kept, recomputed)
