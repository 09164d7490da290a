"""With every axis neutral, Search is NNI's DARTS."""

import pytest
import torch
from nni.nas.hub.pytorch import DARTS as HubDARTS
from nni.nas.hub.pytorch import NasBench201
from nni.nas.strategy import DARTS

from nni_wcnas import Magnitude, Search


@pytest.fixture
def dtype(request):
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(torch.float32)


def _spaces():
    return {'darts': lambda: HubDARTS(width=4, num_cells=3, dataset='cifar'), 'nasbench201': lambda: NasBench201(4, 1)}


def _run(search, strategy, space):
    torch.manual_seed(0)
    return search(strategy, _spaces()[space]())


def _weights(strategy):
    return {name: p for name, p in strategy.supernet.named_parameters() if '_arch_alpha' not in name}


def _logits(strategy):
    """Every row of architecture parameters, in the order of the supernet's modules."""
    return torch.cat(
        [p.detach().flatten() for name, p in strategy.supernet.named_parameters() if '_arch_alpha' in name]
    )


@pytest.mark.parametrize('dtype', [torch.float32], indirect=True)
@pytest.mark.parametrize('space', ['darts', 'nasbench201'])
def test_bit_equal_in_the_plain_layout(search, dtype, space):
    stock = _run(search, DARTS(), space)
    ours = _run(search, Search(selection=Magnitude(by='logit'), channels_last=False), space)
    assert _weights(stock).keys() == _weights(ours).keys()
    assert all(torch.equal(p, _weights(ours)[name]) for name, p in _weights(stock).items())
    assert torch.equal(_logits(stock), _logits(ours))
    assert next(stock.list_models()).sample == next(ours.list_models()).sample
    torch.manual_seed(0)
    assert not torch.equal(_logits(ours), torch.cat([p.flatten() for n, p in _mutated(space) if '_arch_alpha' in n])), (
        'nothing was searched'
    )


def _mutated(space):
    return Search(channels_last=False).mutate_model(_spaces()[space]()).named_parameters()


@pytest.mark.parametrize('dtype', [torch.float64], indirect=True)
@pytest.mark.parametrize('space', ['darts', 'nasbench201'])
def test_close_in_channels_last(search, dtype, space):
    stock = _run(search, DARTS(), space)
    ours = _run(search, Search(selection=Magnitude(by='logit')), space)
    for name, parameter in _weights(stock).items():
        torch.testing.assert_close(_weights(ours)[name], parameter, rtol=0, atol=1e-10)
    torch.testing.assert_close(_logits(ours), _logits(stock), rtol=0, atol=1e-10)
    assert next(stock.list_models()).sample == next(ours.list_models()).sample
