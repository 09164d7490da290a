"""Compiled cells: the numbers of the others, compiled no more often than needed, and never the end of a search."""

import copy
import logging

import pytest
import torch
from nni.nas.hub.pytorch import NasBench201
from torch._dynamo.backends.common import aot_autograd
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler
from torch.nn import functional as F

from nni_wcnas import Search, SingleStage, Softmax, Unrolled
from nni_wcnas.contracts import Moment, Weighting
from nni_wcnas.functional.frozen import constants, frozen_statistics
from nni_wcnas.functional.hypergradient import gradient, leaves
from nni_wcnas.spaces import DARTS
from nni_wcnas.supernet import Compilation, Compiled, RelaxedEdges
from nni_wcnas.transform import AuxiliarySkip, PartialChannels, SkipDropout

FEW = ('none', 'skip_connect', 'sep_conv_3x3', 'max_pool_3x3')
HIDDEN = ('skip_connect', 'dil_conv_3x3')


class Counted:
    """A backend that runs what torch traced, and counts how often it did."""

    def __init__(self):
        self.count = 0

    def __call__(self, graph, inputs):
        self.count += 1
        return graph.forward


@pytest.fixture(autouse=True)
def _untraced(monkeypatch):
    """What torch would tell a debugger is not recorded, which takes longer than compiling."""
    monkeypatch.setattr(logging.getLogger('torch.__trace'), 'propagate', False)


def supernet(compilation=None, operations=HIDDEN, *, count=1, **arguments):
    """The first ``count`` of three cells compile."""
    torch.manual_seed(0)
    space = DARTS(width=4, num_cells=3, num_classes=10, operations=operations)
    network = Search(**arguments).mutate_model(space).double()
    for cell in cells(network)[:count] if compilation else ():
        cell.compiled = Compiled(compilation)
    return network


def cells(network):
    return [module for module in network.modules() if isinstance(module, RelaxedEdges)]


def outcome(network, parameters=None, size=8):
    """Logits, all gradients and, afterwards, all buffers."""
    torch.manual_seed(1)
    images, labels = torch.randn(4, 3, size, size).double(), torch.randint(10, (4,))
    live = parameters or dict(network.named_parameters())
    logits = torch.func.functional_call(network, live, (images,))
    found = gradient(F.cross_entropy(logits, labels), live)
    return [logits.detach(), *found.values(), *(buffer.double().clone() for buffer in network.buffers())]


def frozen(network):
    with frozen_statistics(network):
        return outcome(network)


def elsewhere(network):
    return outcome(network, leaves({name: 1.1 * p for name, p in network.named_parameters()}))


def evaluated(network):
    network.eval()
    found = outcome(network)
    network.train()
    return found


def said(caplog):
    """Our own sentences."""
    return [record.getMessage() for record in caplog.records if record.name.startswith('nni_wcnas')]


def assert_alike(mine, theirs):
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ('backend', 'arguments', 'operations'),
    [
        ('eager', {}, FEW),
        ('eager', {'channels_last': False}, HIDDEN),
        ('aot_eager', {'recompute_cells': True}, HIDDEN),
        pytest.param('inductor', {}, FEW, marks=pytest.mark.slow),
    ],
)
def test_equal(caplog, backend, arguments, operations):
    compiled, plain = supernet(Compilation(backend), operations, **arguments), supernet(None, operations, **arguments)
    passes = [outcome, elsewhere, frozen, evaluated, outcome] if backend == 'eager' else [elsewhere, outcome]
    for one_pass in passes:
        assert_alike(one_pass(compiled), one_pass(plain))
    assert cells(compiled)[0].compiled.compilation.is_possible and not said(caplog)


def test_state_dict_is_that_of_other_cells():
    assert list(supernet(Compilation('eager')).state_dict()) == list(supernet().state_dict())


class Noisy(Weighting):
    is_stochastic = True

    def weights(self, alpha, moment):
        noise = torch.rand(alpha.shape, dtype=alpha.dtype, generator=moment.generator(alpha.device))
        return torch.softmax(alpha + noise, -1)


def test_once_for_each_kind_of_pass():
    """Neither moments nor weights nor logits are part of what is compiled."""
    backend = Counted()
    network = supernet(Compilation(backend), count=3, relaxation=Noisy())
    clock, logits = cells(network)[0].mixer.clock, []
    for seed in range(3):
        clock.moment = Moment(epoch=seed, seed=seed)
        logits.append(outcome(network)[0])
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1.01)
    assert backend.count == len(cells(network)) == 3 and not logits[0].equal(logits[1])
    frozen(network)
    assert backend.count == 6
    with constants({name: p for name, p in network.named_parameters() if '_arch' in name}):
        network(torch.randn(4, 3, 8, 8).double()).sum().backward()
    assert backend.count == 9
    frozen(network)
    outcome(network)
    assert backend.count == 9


def test_many_sizes_of_batches():
    """More kinds of passes than torch would compile by itself."""
    backend = Counted()
    network = supernet(Compilation(backend))
    for size in range(2, 13):
        network(torch.randn(size, 3, 8, 8).double()).sum().backward()
    assert backend.count == 11 and cells(network)[0].compiled.compilation.is_possible


def test_passes_without_gradients_are_not_compiled():
    backend = Counted()
    with torch.no_grad():
        supernet(Compilation(backend))(torch.randn(2, 3, 8, 8).double())
    assert backend.count == 0


def test_pruned_candidates():
    backend = Counted()
    compiled, plain = supernet(Compilation(backend)), supernet()
    for network in (compiled, plain):
        outcome(network)
        cells(network)[0].prune([(edge, edge % 2) for edge in range(9)])
        cells(network)[0].drop([11])
    assert_alike(outcome(compiled), outcome(plain))
    assert backend.count == 2


def test_what_surrounds_the_mixture():
    backend, networks = Counted(), []
    for compilation in (Compilation(backend), None):
        networks.append(supernet(compilation, transforms=[PartialChannels(2), AuxiliarySkip(1.0, 'linear')]))
    for epoch in range(3):
        for network in networks:
            cells(network)[0].mixer.clock.moment = Moment(epoch, 3)
        assert_alike(*map(outcome, networks))
    assert backend.count == 1


def test_a_copy_is_independent():
    network = supernet(Compilation('eager'))
    outcome(network)
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    assert_alike(outcome(other), elsewhere(copy.deepcopy(network)))
    assert not outcome(other)[0].equal(outcome(network)[0])


# ---------------------------------------------------------------------------------------------------------- where it
# cannot work


def fails(graph, inputs):
    raise RuntimeError('out of luck\nand more')


BACKWARD = aot_autograd(fw_compiler=lambda graph, inputs: graph.forward, bw_compiler=fails)


@pytest.mark.parametrize('backend', [fails, BACKWARD], ids=['forward pass', 'backward pass'])
def test_what_torch_cannot_compile_is_computed_as_it_is(caplog, backend):
    compiled, plain = supernet(Compilation(backend), count=3), supernet()
    for _ in range(2):
        assert_alike(outcome(compiled), outcome(plain))
    assert said(caplog) == [
        'compile=True has no effect, cells are computed as they are: torch cannot compile them '
        '(RuntimeError: out of luck)'
    ]


def test_without_a_compiler(caplog, monkeypatch):
    def missing():
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, 'get_cpp_compiler', missing)
    compiled, plain = supernet(Compilation(), count=3), supernet()
    assert_alike(outcome(compiled), outcome(plain))
    assert said(caplog) == [
        'compile=True has no effect, cells are computed as they are: there is no C++ compiler; install g++, or name '
        'another in CXX'
    ]


class Curved(SingleStage):
    needs_second_derivatives = True


CURVED = 'takes second derivatives, which compiled cells have not'


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        ({'hypergradient': Unrolled()}, f"Unrolled(by='exact') {CURVED}"),
        ({'schedule': Curved()}, f'Curved {CURVED}'),
        (
            {'transforms': [SkipDropout()]},
            'SkipDropout changes them from epoch to epoch, and each change would be compiled',
        ),
    ],
)
def test_members_with_which_cells_are_not_compiled(caplog, arguments, reason):
    network = Search(compile=True, **arguments).mutate_model(DARTS(width=4, num_cells=3, num_classes=10))
    assert said(caplog) == [
        f'compile=True has no effect, cells are computed as they are: {reason}'
    ]
    assert not cells(network)[0].compiled.compilation.is_possible
    network(torch.randn(2, 3, 8, 8))


def test_the_option_reaches_the_cells():
    for arguments in ({}, {'hypergradient': Unrolled(by='finite_difference')}):
        network = Search(compile=True, relaxation=Softmax(), **arguments).mutate_model(DARTS(width=4, num_cells=3))
        first, *others = [cell.compiled.compilation for cell in cells(network)]
        assert first.is_possible and first.backend == 'inductor' and all(other is first for other in others)
    assert all(cell.compiled is None for cell in cells(Search().mutate_model(DARTS(width=4, num_cells=3))))


def test_a_space_without_cells_is_refused():
    with pytest.raises(ValueError, match='compile=True acts on cells, and this space has none; leave it out'):
        Search(compile=True).mutate_model(NasBench201(4, 1))
