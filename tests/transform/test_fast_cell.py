"""The fast cell against the plain one under each transform, and under all of them."""

import pytest
import torch
from nni.nas.hub.pytorch import DARTS as HubDARTS
from torch import nn
from torch.nn import functional as F

from nni_wcnas import Search
from nni_wcnas.contracts import Moment
from nni_wcnas.functional.hypergradient import gradient
from nni_wcnas.relaxation import Dirichlet, GumbelSoftmax, HardConcrete
from nni_wcnas.spaces import DARTS, NASBench201
from nni_wcnas.supernet import RelaxedCell
from nni_wcnas.supernet.choices import relaxed_cells
from nni_wcnas.transform import AuxiliarySkip, PartialChannels, SkipDropout

SPACES = {
    'official': lambda: DARTS(width=8, num_cells=3),
    'hub': lambda: HubDARTS(width=16, num_cells=3, dataset='cifar'),
}
TRANSFORMS = {
    'partial channels': (PartialChannels(),),
    'without edge weights': (PartialChannels(2, edge_normalization=False),),
    'auxiliary skip': (AuxiliarySkip(),),
    'skip dropout': (SkipDropout(0.5),),
    'all': (PartialChannels(4), AuxiliarySkip(0.7, 'cosine'), SkipDropout(0.5)),
}


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(autouse=True)
def _masks_by_shape(monkeypatch):
    """The two cells call their dropouts in different orders; let each mask depend on its input's shape alone."""

    def forward(self, x):
        mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) >= self.p
        return x * mask / (1 - self.p) if self.training else x

    monkeypatch.setattr(nn.Dropout, 'forward', forward)


def pair(space, moment=None, **search):
    networks = []
    for fast in (True, False):
        torch.manual_seed(0)
        strategy = Search(fast_cell=fast, **search)
        network = strategy.mutate_model(SPACES[space]())
        strategy._clock.moment = moment or Moment(1, 4)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if '_arch_' in name:
                    parameter.normal_()
        networks.append(network)
    return networks


def cells(network):
    return [module for module in network.modules() if isinstance(module, RelaxedCell)]


def assert_alike(networks, images, labels):
    outcomes = []
    for network in networks:
        logits = network(images)
        found = gradient(F.cross_entropy(logits, labels), dict(network.named_parameters()))
        outcomes.append({'logits': logits, **found, **{n: b.double() for n, b in network.named_buffers()}})
    mine, theirs = outcomes
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, rtol=0, atol=1e-10, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize(('name', 'space'), [*((name, 'official') for name in TRANSFORMS), ('all', 'hub')])
def test_equal(name, space):
    networks = pair(space, transforms=TRANSFORMS[name])
    assert cells(networks[0])[0].fast and not cells(networks[1])[0].fast
    assert_alike(networks, torch.randn(3, 3, 10, 10), torch.randint(10, (3,)))
    for network in networks:
        network.eval()
    assert_alike(networks, torch.randn(2, 3, 8, 8), torch.randint(10, (2,)))


def test_equal_when_pruned_and_dropped():
    networks = pair('official', transforms=TRANSFORMS['all'])
    for network in networks:
        for cell in (cells(network)[0], cells(network)[1]):
            cell.prune([(edge, k) for edge in range(0, 14, 3) for k in range(8) if k not in (0, 3)])
            cell.drop([1, 6, 7])
    assert_alike(networks, torch.randn(3, 3, 8, 8), torch.randint(10, (3,)))


SPARSE = [HardConcrete(), GumbelSoftmax(hard=True)]


@pytest.mark.parametrize('relaxation', [GumbelSoftmax(), Dirichlet(), *SPARSE], ids=repr)
def test_equal_under_each_relaxation(relaxation):
    networks = pair('official', Moment(1, 4, seed=5), relaxation=relaxation)
    images = torch.randn(2, 3, 8, 8)
    assert_alike(networks, images, torch.randint(10, (2,)))
    logits = networks[0](images)
    assert networks[0](images).equal(logits), 'one moment, one draw'
    cells(networks[0])[0].mixer.clock.moment = Moment(1, 4, seed=6)
    assert not networks[0](images).allclose(logits)


@pytest.mark.parametrize('name', ['auxiliary skip', 'skip dropout'])
def test_what_fades_out_acts_and_leaves_nothing_behind(name):
    plain, changed = pair('official')[0], pair('official', transforms=TRANSFORMS[name])[0]
    changed.load_state_dict({**changed.state_dict(), **plain.state_dict()})
    images = torch.randn(2, 3, 8, 8)
    assert not plain(images).allclose(changed(images))
    cells(changed)[0].mixer.clock.moment = Moment(4, 4)  # past the last epoch
    for cell in cells(changed):
        cell.update(Moment(1000, 1000))
    torch.testing.assert_close(changed(images), plain(images), rtol=0, atol=1e-10)


@pytest.mark.parametrize('relaxation', SPARSE, ids=repr)
@pytest.mark.parametrize('fast', [True, False])
def test_operations_without_weight_are_not_computed(fast, relaxation, monkeypatch):
    """Of gates of which two or one an edge are open: the same losses and gradients, and no call of the others."""
    outcomes = []
    images, labels = torch.randn(3, 3, 8, 8), torch.arange(3)
    for is_sparse in (True, False):
        monkeypatch.setattr(type(relaxation), 'is_sparse', is_sparse)
        network = pair('official', relaxation=relaxation)[not fast]
        called = set()
        for cell in cells(network):
            for node, edges in enumerate(cell.ops):
                for source, edge in enumerate(edges):
                    edge['skip_connect'].register_forward_hook(
                        lambda *_, called=called, place=(cell, node, source): called.add(place)
                    )
        loss = F.cross_entropy(network(images), labels)
        outcomes.append((loss, gradient(loss, dict(network.named_parameters())), called))
    (loss, gradients, some), (dense_loss, dense_gradients, every) = outcomes
    torch.testing.assert_close(loss, dense_loss, rtol=0, atol=1e-10)
    for name, value in gradients.items():
        torch.testing.assert_close(value, dense_gradients[name], rtol=0, atol=1e-10)
    assert len(some) < len(every) or fast  # the fast cell adds states themselves, without a call


def computed(cell):
    """Rows and columns whose batch norms have seen a batch."""
    found, edges = set(), [edge for node in cell.ops for edge in node]
    for row, edge in enumerate(edges):
        for column, module in enumerate(edge.values()):
            norms = [norm for norm in module.modules() if isinstance(norm, nn.BatchNorm2d)]
            assert len({norm.running_var.ne(1).any().item() for norm in norms}) <= 1
            if norms and norms[0].running_var.ne(1).any():
                found.add((row, column))
    return found


KNOWN = {
    'official': lambda: DARTS(width=8, num_cells=3, operations=('none', 'sep_conv_3x3', 'dil_conv_3x3')),
    'nasbench201': lambda: NASBench201(width=8, num_cells=1, operations=('none', 'nor_conv_1x1', 'nor_conv_3x3')),
}
"""Candidates that are known by their batch norms to have been computed, and 'none'."""


@pytest.mark.parametrize('fast', [True, False])
@pytest.mark.parametrize('space', ['official', 'nasbench201'])
def test_one_operation_on_an_edge_is_computed(space, fast, monkeypatch):
    """Of each edge of each cell exactly the one with the largest weight of the soft sample, unless that is 'none'."""
    monkeypatch.setitem(SPACES, space, KNOWN[space])
    network = pair(space, Moment(1, 4, seed=3), relaxation=GumbelSoftmax(hard=True))[not fast]
    loss = F.cross_entropy(network(torch.randn(3, 3, 8, 8)), torch.arange(3))
    loss.backward()
    for cell in relaxed_cells(network):
        soft = GumbelSoftmax().weights(cell.logits.detach(), cell.mixer.moment)
        drawn = {(row, column) for row, column in enumerate(soft.argmax(1).tolist()) if column}
        assert computed(cell) == drawn and drawn
        edges = [list(edge.values()) for node in cell.ops for edge in node]
        for row, edge in enumerate(edges):
            for column, module in enumerate(edge):
                has_gradient = any(p.grad is not None for p in module.parameters())
                assert not has_gradient or (row, column) in drawn
        rows = sorted({row for row, _ in drawn})
        assert (cell.logits.grad[rows].ne(0).sum(1) > 1).any(), 'also to the logits of what was not drawn'


@pytest.mark.parametrize('fast', [True, False])
def test_a_node_without_any_weight_is_a_zero(fast, monkeypatch):
    """As when a hidden 'none' is all that was drawn; the first candidates were pruned."""
    network = pair('hub', relaxation=GumbelSoftmax(hard=True))[not fast]
    last = torch.eye(len(cells(network)[0].layout.operations) + 1)[-1]
    monkeypatch.setattr(GumbelSoftmax, 'weights', lambda self, alpha, moment: last.expand_as(alpha))
    for cell in cells(network)[:2]:
        cell.prune([(row, column) for row in range(len(cell.logits)) for column in range(3)])
    states = []
    cells(network)[0].register_forward_hook(lambda *arguments: states.append(arguments[-1]))
    assert network(torch.randn(2, 3, 16, 16)).isfinite().all() and not states[0][-1].any()


def test_an_edge_without_any_weight_computes_nothing(monkeypatch):
    """A hidden 'none' on all edges but the first into each node, which has one operation."""
    network = pair('hub', relaxation=GumbelSoftmax(hard=True))[0]
    cell = cells(network)[0]
    width, column = len(cell.layout.operations), cell.layout.operations.index('sep_conv_3x3')
    firsts = [cell.layout.edges_into(node)[0] for node in range(cell.layout.num_nodes)]
    columns = torch.tensor([column if row in firsts else width for row in range(len(cell.logits))])
    weights = F.one_hot(columns, width + 1).double()
    monkeypatch.setattr(GumbelSoftmax, 'weights', lambda self, alpha, moment: weights)
    network(torch.randn(2, 3, 16, 16))
    assert computed(cell) == {(row, column) for row in firsts}
