"""Layer choices and repeats of which one candidate, or one depth, is drawn."""

import pytest
import torch
from nni.nas.hub.pytorch import NasBench201, ProxylessNAS
from torch import nn
from torch.nn import functional as F

from nni_wcnas import GumbelSoftmax, Search
from nni_wcnas.contracts import Moment
from nni_wcnas.functional.hypergradient import gradient
from nni_wcnas.supernet.single_choice import RelaxedLayer, RelaxedRepeat

SPACES = {
    'proxylessnas': lambda: ProxylessNAS(num_labels=10, base_widths=(8,) * 9, width_mult=1.0),
    'nasbench201': lambda: NasBench201(4, 1),
}


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def supernet(space, seed=3):
    torch.manual_seed(0)
    strategy = Search(relaxation=GumbelSoftmax(hard=True))
    network = strategy.mutate_model(SPACES[space]())
    strategy._clock.moment = Moment(1, 4, seed=seed)
    with torch.no_grad():
        for parameter in {id(p): p for m in layers(network) for p in m.arch_parameters()}.values():
            parameter.normal_()
    return network


def layers(network, kind=RelaxedLayer):
    return [module for module in network.modules() if isinstance(module, kind)]


def counted(network):
    """How often each candidate and each block is called, by module."""
    calls = {}
    for module in layers(network, (RelaxedLayer, RelaxedRepeat)):
        parts = [module[name] for name in module.names] if isinstance(module, RelaxedLayer) else module.blocks
        for part in parts:
            calls[part] = 0
            part.register_forward_hook(lambda part, *_: calls.__setitem__(part, calls[part] + 1))
    return calls


@pytest.mark.parametrize('space', SPACES)
def test_one_candidate_is_called(space, images):
    """That with the largest weight of the soft sample; blocks behind the drawn depth are not called at all."""
    network = supernet(space)
    calls = counted(network)
    network(images)
    for layer in layers(network):
        soft = GumbelSoftmax().weights(layer._arch_alpha.detach().unsqueeze(0), layer._softmax.mixer.moment)
        found = [calls[layer[name]] for name in layer.names]
        assert sum(found) in (0, 1) and found[int(soft.argmax())] == max(found)
    repeats = layers(network, RelaxedRepeat)
    for repeat in repeats:
        (alpha,) = repeat._arch_alpha.values()
        depth = int(repeat._softmax(alpha).argmax()) + 1
        assert [calls[block] for block in repeat.blocks] == [1] * depth + [0] * (len(repeat.blocks) - depth)
    assert len(repeats) == (5 if space == 'proxylessnas' else 0)


@pytest.mark.parametrize('space', SPACES)
def test_equal_to_the_sum_over_all(space, images, monkeypatch):
    """Loss and gradients of NNI's own classes, with the same weights."""
    outcomes = []
    for is_sparse in (True, False):
        monkeypatch.setattr(GumbelSoftmax, 'is_sparse', is_sparse)
        network = supernet(space)
        calls = counted(network)
        for norm in network.modules():
            if isinstance(norm, nn.Dropout):
                norm.p = 0.0
        loss = F.cross_entropy(network(images), torch.arange(2))
        outcomes.append((loss, gradient(loss, dict(network.named_parameters())), sum(calls.values())))
    (loss, gradients, some), (dense_loss, dense_gradients, every) = outcomes
    torch.testing.assert_close(loss, dense_loss, rtol=0, atol=1e-10)
    assert gradients.keys() == dense_gradients.keys()
    for name, value in gradients.items():
        torch.testing.assert_close(value, dense_gradients[name], rtol=0, atol=1e-10)
    alphas = [value for name, value in gradients.items() if '_arch_alpha' in name]
    assert some < every / 2 and sum(alpha.any().item() for alpha in alphas) > len(alphas) / 3


def test_another_moment_draws_others(images):
    network, other = supernet('nasbench201'), supernet('nasbench201', seed=4)
    assert not network(images).allclose(other(images)) and network(images).equal(network(images))
