"""Dropout behind skips: how much, when, and where."""

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
from nni_wcnas.transform import SkipDropout


def cells(transform, space=None):
    torch.manual_seed(0)
    network = Search(transforms=(transform,)).mutate_model(
        space or DARTS(width=4, num_cells=3, operations=('skip_connect', 'max_pool_3x3', 'dil_conv_3x3'))
    )
    return network, [module for module in network.modules() if isinstance(module, RelaxedCell)]


def test_probability_over_the_epochs_of_a_stage():
    """25 epochs of which 10 leave the architecture alone: it starts again at epoch 10."""
    found = [SkipDropout(0.1).probability(Moment(epoch, 25, warmup=10)) for epoch in range(25)]
    expected = [0.1 * (25 - e - 1) / 25 for e in range(10)] + [0.1 * math.exp(-0.2 * (e - 10)) for e in range(10, 25)]
    assert found == pytest.approx(expected, abs=1e-15)
    assert found[0] == pytest.approx(0.096) and found[9] == pytest.approx(0.06) and found[10] == 0.1
    assert found[24] == pytest.approx(0.0061, abs=1e-4)


def test_without_warmup_it_decays_from_the_start():
    assert SkipDropout(0.4).probability(Moment(0, 5)) == 0.4
    assert SkipDropout(0.4).probability(Moment(2, 5)) == pytest.approx(0.4 * math.exp(-0.4))


def test_a_number_for_each_stage():
    transform = SkipDropout((0.0, 0.4, 0.7))
    assert [transform.probability(Moment(stage=stage)) for stage in range(4)] == [0.0, 0.4, 0.7, 0.7]
    assert SkipDropout([0.0, 0.4, 0.7]) == transform and hash(transform) == hash(eval(repr(transform)))
    assert isinstance(transform.wrap('skip_connect', nn.Identity()), nn.Sequential)


@pytest.mark.parametrize('space', [None, HubDARTS(width=8, num_cells=3, dataset='cifar')], ids=['ours', 'hub'])
def test_only_skips_without_weights_are_wrapped(space):
    _, found = cells(SkipDropout(), space)
    for cell in found:
        edges = [candidates for node in cell.ops for candidates in node]
        for edge, candidates in zip(cell.layout.edges, edges):
            strided = cell.layout.is_reduction and edge.source < 2
            assert any(isinstance(m, nn.Dropout) for m in candidates['skip_connect'].modules()) != strided
            others = [operation for name, operation in candidates.items() if name != 'skip_connect']
            assert not any(isinstance(m, nn.Dropout) for operation in others for m in operation.modules())


def test_what_is_wrapped():
    identity, reduction = nn.Identity(), FactorizedReduce(4, 4)
    assert SkipDropout().wrap('skip_connect', reduction) is reduction
    assert SkipDropout().wrap('none', identity) is identity
    assert SkipDropout(0.0).wrap('skip_connect', identity) is identity
    assert SkipDropout((0.0, 0.0)).wrap('skip_connect', identity) is identity
    assert SkipDropout().is_random


def test_cells_pass_the_moment_on():
    network, found = cells(SkipDropout(0.5))
    for cell in found:
        cell.update(Moment(epoch=3, epochs=5, warmup=1))
    dropouts = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    assert len(dropouts) == 14 + 6 + 6, 'reduction cells have 8 strided edges'
    assert {dropout.p for dropout in dropouts} == {0.5 * math.exp(-0.4)}


def test_elements_are_dropped_in_training_only():
    module = SkipDropout(0.5).wrap('skip_connect', nn.Identity())
    torch.manual_seed(0)
    x = torch.ones(2, 8, 32, 32)
    found = module(x)
    assert set(found.unique().tolist()) == {0.0, 2.0} and (found == 0).float().mean() == pytest.approx(0.5, abs=0.02)
    SkipDropout(0.5).update(module, Moment(epoch=5, epochs=10))
    assert (module(x) == 0).float().mean() == pytest.approx(0.5 * math.exp(-1), abs=0.02)
    assert module.eval()(x).equal(x)


def test_keys_of_the_state_do_not_change():
    plain, dropped = (cells(SkipDropout(initial))[0].state_dict() for initial in (0.0, 0.4))
    assert list(plain) == list(dropped)


@pytest.mark.parametrize('initial', [-0.1, 1.0, (0.0, 1.5), (), float('nan')], ids=str)
def test_refused(initial):
    with pytest.raises(ValueError, match='initial must be at least 0 and below 1, for one stage or for each, not'):
        SkipDropout(initial)
