"""Cells that are computed again: the same numbers, in less memory."""

import pytest
import torch
from nni.nas.hub.pytorch import NasBench201
from torch.nn import functional as F

from nni_wcnas import Search
from nni_wcnas.functional.hypergradient import gradient
from nni_wcnas.spaces import DARTS
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
        Search(recompute_cells=True).mutate_model(NasBench201(4, 1))
