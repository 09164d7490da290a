"""What a schedule sees of a real supernet: validation against an independent loop, and nothing moved by it."""

import copy

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from staged_search import OPERATIONS, probe
from torch.nn import functional as F

from nni_wcnas import Search, data
from nni_wcnas.contracts import Supernet
from nni_wcnas.relaxation import GumbelSoftmax
from nni_wcnas.search.module import SearchModule
from nni_wcnas.search.view import SupernetView
from nni_wcnas.spaces import DARTS
from nni_wcnas.supernet.choices import cells_by_label
from nni_wcnas.transform import AuxiliarySkip, PartialChannels, SkipDropout

WITHOUT = {'one': {(1, 2)}, 'an edge': {(3, column) for column in range(4)}, 'nothing': set(), 'gone': {(0, 0), (2, 1)}}


def by_loop(module: SearchModule, label: str, without: set[tuple[int, int]]) -> tuple[float, float]:
    """Loss and accuracy on the architecture's half in order, example by example, in batches of six.

    A copy computes them, whose statistics may move.
    """
    network = copy.deepcopy(module.model).train()
    cell = cells_by_label(network)[label]
    weights = cell.mixer.masked(cell.logits).softmax(-1).detach()
    weights[sorted(cell.mixer.dropped)] = 0.0
    for row, column in without:
        weights[row, column] = 0.0
    losses, right = [], []
    for batch in data.Digits(batch_size=6, limit=32).evaluation_dataloader('architecture'):
        with torch.no_grad(), cell.mixer.holding(weights):
            logits = network(batch.images)
        losses += [F.cross_entropy(row, label).item() for row, label in zip(logits, batch.labels)]
        right += (logits.argmax(1) == batch.labels).tolist()
    assert len(right) == 16, 'the last batch is a smaller one'
    return sum(losses) / 16, sum(right) / 16


@pytest.mark.parametrize('label', ['normal', 'reduce'])
@pytest.mark.parametrize('fast', [True, False], ids=['fast', 'plain'])
def test_validation_against_an_independent_loop(label, fast):
    def look(module):
        module.view.prune(label, [(0, 0), (2, 3)])
        module.view.drop(label, [2])
        return [(module.view.validate(label, gone), by_loop(module, label, gone)) for gone in WITHOUT.values()]

    found = probe(look, batch_size=6, members={'fast_cell': fast})
    for (loss, accuracy), (expected, share) in found:
        assert loss == pytest.approx(expected, abs=1e-5) and accuracy == pytest.approx(share)
    assert len({loss for (loss, _), _ in found}) == 3, 'what is gone already changes nothing, the others do'


@pytest.mark.parametrize('fast', [True, False], ids=['fast', 'plain'])
@pytest.mark.parametrize(
    'transform', [PartialChannels(2, edge_normalization=False), AuxiliarySkip()], ids=lambda t: type(t).__name__
)
def test_an_edge_without_candidates_is_as_one_that_was_dropped(transform, fast):
    """What passes beside the mixture goes too: channels that bypass it, and the skip."""

    def look(module):
        whole = module.view.validate('normal', ())
        without = module.view.validate('normal', {(3, column) for column in range(4)})
        module.view.drop('normal', [3])
        return whole, without, module.view.validate('normal', ())

    whole, without, dropped = probe(look, width=8, members={'transforms': (transform,), 'fast_cell': fast})
    assert without == pytest.approx(dropped, abs=1e-6) and without[0] != pytest.approx(whole[0], abs=1e-6)


@pytest.mark.parametrize('training', [True, False])
def test_validation_moves_nothing(training):
    def look(module):
        module.model.train(training)
        before = {name: value.clone() for name, value in module.state_dict().items()}
        modes = [child.training for child in module.model.modules()]
        gradients, random = [p.grad is None for p in module.parameters()], torch.get_rng_state()
        module.view.validate('normal', {(0, 1)})
        assert modes == [child.training for child in module.model.modules()]
        assert gradients == [p.grad is None for p in module.parameters()]
        assert torch.get_rng_state().equal(random)
        module.model.train()
        return [name for name, value in module.state_dict().items() if not value.equal(before[name])]

    assert probe(look) == []


def test_validation_between_epochs_leaves_the_search_as_it_is():
    def search(look):
        return probe(lambda module: (look(module), module.state_dict())[1], epochs=2)

    looked = search(lambda module: module.view.validate('normal', {(0, 1)}))
    alone = search(lambda module: None)
    assert [name for name, value in alone.items() if not value.equal(looked[name])] == []


def test_a_draw_is_the_same_for_all_that_is_compared():
    def look(module):
        return [module.view.validate('normal', {(0, 1)}) for _ in range(2)], module.view.validate('normal', {(0, 2)})

    (first, again), other = probe(look, members={'relaxation': GumbelSoftmax()})
    assert first == again and first != other


def test_validation_with_a_stock_evaluator(search):
    found = []

    class AtEnd(Callback):
        def on_train_epoch_end(self, trainer, module):
            found.append(module.view.validate('normal', {(0, 1)}))

    space = DARTS(width=4, num_cells=3, num_nodes=2, operations=OPERATIONS)
    search(Search(), space, callbacks=[AtEnd()])
    ((loss, accuracy),) = found
    assert 0 < loss < 10 and accuracy * 12 == pytest.approx(round(accuracy * 12))


def test_what_a_schedule_sees_and_does():
    def look(module):
        view, cells = module.view, cells_by_label(module.model)
        assert isinstance(view, Supernet) and view.memory == {}
        scores = view.scores()
        assert set(scores) == {'normal', 'reduce'} and scores['reduce'].layout.is_reduction
        assert scores['normal'].logits.equal(cells['normal'].logits.detach())
        assert scores['normal'].probabilities.allclose(cells['normal'].logits.softmax(-1))
        assert view.select('normal') == cells['normal'].genotype()
        view.prune('normal', [(0, 1), (0, 2)])
        view.drop('normal', [3])
        after = view.scores()['normal']
        assert after.logits[0].isinf().tolist() == [False, True, True, False]
        assert after.logits[3].isinf().all() and not after.probabilities[3].any()
        assert after.probabilities[0].sum().item() == pytest.approx(1)
        assert not view.scores()['reduce'].logits.isinf().any()
        assert all(choice.source != 1 for choice in view.select('normal')[1])
        return view.export(), module.export()

    sample, again = probe(look)
    assert sample == again and all(type(key) is str for key in sample)
    assert {type(value) for value in sample.values()} == {str, list}


def test_draws_are_of_torchs_random_state():
    view = SupernetView(module=None)
    torch.manual_seed(3)
    first = [view.draw(5) for _ in range(40)]
    torch.manual_seed(3)
    assert first == [view.draw(5) for _ in range(40)] and set(first) == set(range(5))


def test_no_validation_without_batches():
    def look(module):
        with pytest.raises(ValueError, match='SingleStage judges candidates .* limit_val_batches=0 leaves none'):
            module.view.validate('normal', ())

    probe(look, limit_val_batches=0)


def test_no_eigenvalue_before_the_first_batch():
    def look(module):
        assert module.last_validation_batch is not None
        module.last_validation_batch = None
        with pytest.raises(ValueError, match='no batch has been seen yet, so there is no loss to differentiate'):
            module.view.largest_eigenvalue()

    probe(look)


@pytest.mark.parametrize(
    ('candidates', 'message'),
    [
        ({(5, 0)}, r'there is no candidate \(5, 0\): a cell has 5 edges of 4'),
        ({(0, 4)}, r'there is no candidate \(0, 4\)'),
        ({(-1, 0)}, r'there is no candidate \(-1, 0\)'),
        ({(1, column) for column in range(4)}, 'edge 1 would lose its last candidate; keep one'),
    ],
)
def test_candidates_that_cannot_go(candidates, message):
    network = Search().mutate_model(DARTS(width=4, num_cells=3, num_nodes=2, operations=OPERATIONS))
    cell = cells_by_label(network)['normal']
    with pytest.raises(ValueError, match=message):
        cell.prune(candidates)
    assert not cell.mixer.pruned


@pytest.mark.parametrize(
    ('edges', 'message'),
    [
        ({5}, 'there is no edge 5: a cell has 5'),
        ({2, 3, 4}, 'node 1 would lose its last edge; keep one'),
        ({0, 1, 2}, 'node 0 would lose its last edge; keep one'),
    ],
)
def test_edges_that_cannot_go(edges, message):
    network = Search().mutate_model(DARTS(width=4, num_cells=3, num_nodes=2, operations=OPERATIONS))
    cell = cells_by_label(network)['normal']
    with pytest.raises(ValueError, match=message):
        cell.drop(edges)
    assert not cell.mixer.dropped


@pytest.mark.parametrize('fast', [True, False], ids=['fast', 'plain'])
def test_the_largest_eigenvalue_is_that_of_the_whole_hessian(fast):
    """Of the loss of the last validation batch, by all logits at once; no statistics move."""

    def look(module):
        found = module.view.largest_eigenvalue()
        batch, alphas = module.last_validation_batch, module.architecture()
        names = list(alphas)
        network = copy.deepcopy(module.model)

        def loss(*values):
            logits = torch.func.functional_call(network, dict(zip(names, values)), (batch.images,))
            return F.cross_entropy(logits, batch.labels)

        sizes = [value.numel() for value in alphas.values()]
        blocks = torch.autograd.functional.hessian(loss, tuple(value.detach() for value in alphas.values()))
        rows = [[block.reshape(size, -1) for block in row] for size, row in zip(sizes, blocks)]
        return found, torch.cat([torch.cat(row, 1) for row in rows])

    found, hessian = probe(look, members={'fast_cell': fast}, precision='64-true')
    torch.testing.assert_close(hessian, hessian.T, rtol=0, atol=1e-10)
    assert found == pytest.approx(torch.linalg.eigvalsh(hessian)[-1].item(), rel=1e-3)


def test_the_largest_eigenvalue_moves_nothing():
    def look(module):
        before = {name: value.clone() for name, value in module.state_dict().items()}
        random = torch.get_rng_state()
        module.view.largest_eigenvalue()
        assert torch.get_rng_state().equal(random) and all(p.grad is None for p in module.architecture().values())
        return [name for name, value in module.state_dict().items() if not value.equal(before[name])]

    assert probe(look) == []


def test_random_operations_draw_the_same_for_all_that_is_compared():
    """Noise ignores its input; dropout cuts some of it."""

    def look(module):
        state = torch.get_rng_state()
        found = [module.view.validate('normal', {(0, 0)}) for _ in range(2)]
        assert torch.get_rng_state().equal(state)
        return found

    for members, operations in (({}, ('noise', 'sep_conv_3x3')), ({'transforms': (SkipDropout(0.5),)}, OPERATIONS)):
        space = DARTS(width=4, num_cells=3, num_nodes=2, operations=operations)
        first, again = probe(look, space=space, members=members)
        assert first == again


def test_validation_in_float64():
    assert probe(lambda module: module.view.validate('normal', {(0, 1)}), precision='64-true')[0] > 0


class Twice(torch.nn.Module):
    """Twice the cross-entropy."""

    def forward(self, logits, labels):
        return 2 * F.cross_entropy(logits, labels)


class Broken(torch.nn.Module):
    """No loss at all."""

    def forward(self, logits, labels):
        raise RuntimeError('no loss')


def test_the_eigenvalue_is_that_of_the_evaluators_loss():
    def look(module):
        once = module.view.largest_eigenvalue()
        module.training_module.criterion = Twice()
        return once, module.view.largest_eigenvalue()

    once, twice = probe(look, precision='64-true')
    assert twice == pytest.approx(2 * once, rel=1e-3)


def test_modes_are_put_back_after_an_error():
    def look(module):
        module.model.eval()
        next(module.model.children()).train()
        modes = [child.training for child in module.model.modules()]
        criterion, module.training_module.criterion = module.training_module.criterion, Broken()
        with pytest.raises(RuntimeError, match='no loss'):
            module.view.validate('normal', ())
        module.training_module.criterion = criterion
        return modes, [child.training for child in module.model.modules()]

    before, after = probe(look)
    assert before == after and len(set(before)) == 2


def test_a_checkpoint_keeps_the_random_state_of_all_devices():
    def look(module):
        checkpoint = {}
        module.on_save_checkpoint(checkpoint)
        return checkpoint['nni_wcnas']['random_state']

    state = probe(look)
    assert state['cpu'].dtype == torch.uint8 and len(state['cuda']) == torch.cuda.device_count()
