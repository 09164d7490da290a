"""Cells that are computed again: the same numbers, in less memory."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from nni.nas.hub.pytorch import NasBench201 as HubNasBench201
from torch.nn import functional as F

from nni_wcnas import Search
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.hypergradient import gradient, inner_gradient, leaves
from nni_wcnas.functional.mixed_derivative import weights_held
from nni_wcnas.functional.second_pass import quick_second_pass
from nni_wcnas.schedule import HessianEigenvalue
from nni_wcnas.spaces import DARTS, NASBench201
from nni_wcnas.supernet.recomputation import recomputed


def supernet(**arguments):
    torch.manual_seed(0)
    return Search(**arguments).mutate_model(DARTS(width=4, num_cells=4, num_classes=10)).double()


def outcome(network, parameters=None):
    torch.manual_seed(1)
    images, labels = torch.randn(4, 3, 8, 8).double(), torch.randint(10, (4,))
    live = parameters or dict(network.named_parameters())
    logits = torch.func.functional_call(network, live, (images,))
    found = gradient(F.cross_entropy(logits, labels), live)
    return [logits.detach(), *found.values(), *(buffer.double() for buffer in network.buffers())]


@pytest.mark.parametrize('fast_cell', [True, False])
@pytest.mark.parametrize('elsewhere', [False, True], ids=['live weights', 'other weights'])
def test_bit_equal(fast_cell, elsewhere):
    """Other weights are those of functional_call, gone when the backward pass comes."""
    found = []
    for recompute_cells in (False, True):
        network = supernet(fast_cell=fast_cell, recompute_cells=recompute_cells)
        parameters = {n: (1.1 * p).detach().requires_grad_() for n, p in network.named_parameters()}
        found.append(outcome(network, parameters if elsewhere else None))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*found, strict=True))


def test_second_derivatives():
    found = []
    for recompute_cells in (False, True):
        network = supernet(recompute_cells=recompute_cells)
        torch.manual_seed(1)
        loss = F.cross_entropy(network(torch.randn(2, 3, 8, 8).double()), torch.tensor([1, 2]))
        alphas = {n: p for n, p in network.named_parameters() if '_arch_alpha' in n}
        weights = {n: p for n, p in network.named_parameters() if n not in alphas}
        first = gradient(loss, alphas, create_graph=True)
        found.append(gradient(sum(g.square().sum() for g in first.values()), weights))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('fast_cell', [True, False])
@pytest.mark.parametrize('moves_statistics', [False, True], ids=['frozen statistics', 'moving statistics'])
@pytest.mark.parametrize('space', [DARTS, NASBench201], ids=lambda space: space.__name__)
def test_a_product_through_a_look_ahead(space, fast_cell, moves_statistics):
    """As ``Unrolled`` takes it: weights are held in the first backward pass, other passes come before the second."""
    found = []
    for recompute_cells in (False, True):
        torch.manual_seed(0)
        arguments = {'num_cells': 3} if space is DARTS else {'num_cells': 1}
        network = Search(fast_cell=fast_cell, recompute_cells=recompute_cells).mutate_model(space(width=4, **arguments))
        network.double()
        torch.manual_seed(1)
        images, labels = torch.randn(4, 3, 8, 8).double(), torch.randint(10, (4,))
        alphas = {n: p for n, p in network.named_parameters() if '_arch_alpha' in n}
        weights = {n: p for n, p in network.named_parameters() if n not in alphas}

        def loss(parameters, targets, moves=False, network=network, images=images, labels=labels):
            with nullcontext() if moves else frozen_statistics(network), quick_second_pass(network):
                logits = torch.func.functional_call(network, {**parameters, **targets}, (images,))
            return F.cross_entropy(logits, labels)

        with weights_held():
            inner = inner_gradient(partial(loss, moves=moves_statistics), weights, alphas)
        ahead = leaves({name: p - 0.1 * inner.gradients[name] for name, p in weights.items()})
        product = inner.product(gradient(loss(ahead, alphas), ahead))
        statistics = {name: buffer.double() for name, buffer in network.named_buffers()}
        found.append({'loss': inner.loss, **inner.gradients, **product, **statistics})
    assert all(found[0][name].norm() > 1e-3 for name in alphas)
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=0, atol=1e-10, msg=name)


def test_the_largest_eigenvalue(search):
    """Cells are computed again while the layers of a second pass are still in their places."""
    found = []
    for recompute_cells in (False, True):
        torch.manual_seed(0)
        schedule = HessianEigenvalue(every=1)
        strategy = Search(schedule=schedule, recompute_cells=recompute_cells, arc_learning_rate=0.0)
        search(strategy, DARTS(width=4, num_cells=3), images=4, batch_size=2, learning_rate=0.01)
        found.append(strategy.oneshot_module.trainer.callback_metrics['eigenvalue'].item())
    assert found[1] == pytest.approx(found[0], rel=1e-3) and found[0] != 0


def test_statistics_are_the_same_tensors_again():
    norm = torch.nn.BatchNorm2d(3)
    before = [(buffer, buffer.clone()) for buffer in norm.buffers()]
    output = recomputed(norm, torch.randn(2, 3, 4, 4).requires_grad_())
    once = [buffer.clone() for buffer in norm.buffers()]
    versions = [buffer._version for buffer in norm.buffers()]
    output.sum().backward()
    for (buffer, value), now, seen, version in zip(before, norm.buffers(), once, versions, strict=True):
        assert now is buffer and now.equal(seen) and not now.equal(value) and now._version == version


def test_fewer_tensors_are_kept_for_the_backward_pass():
    kept = {}
    for recompute_cells in (False, True):
        network, sizes = supernet(recompute_cells=recompute_cells), []

        def note(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            network(torch.randn(4, 3, 16, 16).double())
        kept[recompute_cells] = sum(sizes)
    assert kept[True] < 0.3 * kept[False]


def test_without_gradients_there_is_nothing_to_compute_again():
    calls = []

    class Once(torch.nn.Linear):
        def forward(self, x):
            calls.append(x)
            return super().forward(x)

    layer = Once(2, 2)
    with torch.no_grad():
        recomputed(layer, torch.ones(1, 2))
    assert len(calls) == 1
    recomputed(layer, torch.ones(1, 2)).sum().backward()
    assert len(calls) == 3


def test_a_space_without_cells_is_refused():
    with pytest.raises(ValueError, match='recompute_cells=True acts on cells, and this space has none'):
        Search(recompute_cells=True).mutate_model(HubNasBench201(4, 1))
