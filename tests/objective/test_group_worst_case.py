"""GroupWorstCase: its weights in closed form, its gradient, the minimax that it reaches, groups, memory, a search."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from toy import CLASSES, ToyLearner, toy_step
from worst_case_search import make_plain_parts, run

from nni_wcnas import FirstOrder, GroupWorstCase, Search, Unrolled
from nni_wcnas.contracts import Batch, Step
from nni_wcnas.functional.hypergradient import lookahead
from nni_wcnas.objective.groups import read_groups
from nni_wcnas.relaxation import Dirichlet


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def losses_at(learner, batch, weights=None):
    return F.cross_entropy(learner.logits(batch.images, weights), batch.labels, reduction='none')


def plainly(q, losses, groups, step_size):
    """Algorithm 1 with a loop over the groups: the new q, and the loss that A descends."""
    present = sorted(set(groups.tolist()))
    of_group = {g: losses[groups == g].mean() for g in present}
    q = [q[g] * math.exp(step_size * float(of_group[g].detach())) if g in of_group else q[g] for g in range(len(q))]
    q = [value / sum(q) for value in q]
    return q, sum(q[g] * of_group[g] for g in present)


@pytest.mark.parametrize('hypergradient', [FirstOrder(), Unrolled(by='exact')], ids=repr)
@pytest.mark.parametrize('groups', [None, (4, 4, 4, 9, 9, 9, 9, 7, 5)], ids=['classes', 'given'])
def test_gradient_of_a_after_several_updates(float64, groups, hypergradient):
    step, member = toy_step(hypergradient), GroupWorstCase(0.7, groups)
    learner = step.learner
    rows = step.val.labels if groups is None else torch.tensor([0, 0, 0, 3, 3, 3, 3, 2])
    q = [1 / 3] * 3 if groups is None else [1 / 4] * 4
    for _ in range(3):
        weights = learner.weights
        if hypergradient.unrolls:
            numbers = vars(learner.sgd_step())
            weights = lookahead(lambda p: learner.loss(*step.train[:2], p), weights, create_graph=True, **numbers)
        q, loss = plainly(q, losses_at(learner, step.val, weights), rows, 0.7)
        (expected,) = torch.autograd.grad(loss, list(learner.alphas.values()))
        update = member.architecture_step(step)
        assert expected.abs().max() > 1e-4
        torch.testing.assert_close(update.alphas['alpha'], expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(update.losses['A'], loss.detach(), rtol=0, atol=1e-12)
        torch.testing.assert_close(step.memory['group_logarithms'].exp(), torch.tensor(q), rtol=0, atol=1e-12)
    assert max(q) > 1.5 * min(q)


def test_weights_after_n_updates_of_a_learner_that_stays_in_closed_form(float64):
    """q_n is proportional to exp(n step_size loss): of the worst group almost 1 in the end, and none exactly 0."""
    step = toy_step(FirstOrder())
    losses = losses_at(step.learner, step.val).detach()
    of_class = torch.stack([losses[step.val.labels == c].mean() for c in range(CLASSES)])
    for n in range(1, 61):
        update = GroupWorstCase(0.05).architecture_step(step)
        torch.testing.assert_close(step.memory['group_logarithms'].exp(), (n * 0.05 * of_class).softmax(0))
    assert float(update.losses['worst_group']) == pytest.approx(float(of_class.max()))
    for _ in range(40):
        GroupWorstCase(200.0).architecture_step(step)
    assert step.memory['group_logarithms'].isfinite().all()
    assert step.memory['group_logarithms'].argmax() == of_class.argmax()
    assert step.memory['group_logarithms'].exp().max() > 0.999


def test_groups_that_a_batch_does_not_have_move_by_the_others_alone(float64):
    step, q = toy_step(FirstOrder()), [1 / 3] * 3
    for wanted in ([0, 1], [1], [2], [0, 1, 2]):
        mask = torch.isin(step.val.labels, torch.tensor(wanted))
        part = Batch(step.val.images[mask], step.val.labels[mask], step.val.indices[mask])
        q, loss = plainly(q, losses_at(step.learner, part), part.labels, 1.3)
        whole, step.val = step.val, part
        update = GroupWorstCase(1.3).architecture_step(step)
        step.val = whole
        torch.testing.assert_close(update.losses['A'], loss.detach(), rtol=0, atol=1e-12)
        torch.testing.assert_close(step.memory['group_logarithms'].exp(), torch.tensor(q), rtol=0, atol=1e-12)


class Slider(ToyLearner):
    """One architecture number a: logits of two classes (a x, 0), so that every group's loss is convex in it."""

    def __init__(self):
        self._weights, self._alphas = {}, {'a': torch.zeros(1).requires_grad_()}

    def logits(self, images, weights=None, alphas=None):
        a = (alphas or self._alphas)['a']
        return torch.stack((a * images[:, 0], torch.zeros(len(images))), 1)

    def loss(self, images, labels, weights=None, alphas=None, *, moves_statistics=False):
        return F.cross_entropy(self.logits(images, weights, alphas), labels)


def test_reaches_the_minimax_of_a_convex_toy(float64):
    """Brute force over a; three groups that want different ones, of which the mean wants another."""
    x = torch.tensor([[1.0], [-1.0], [2.0], [-0.5], [1.5], [0.3]])
    y = torch.tensor([0, 0, 1, 0, 0, 0])
    groups = torch.tensor([0, 0, 1, 1, 2, 2])
    step = Step(Batch(x, y), Batch(x, y, torch.arange(6)), Slider(), FirstOrder(), lambda batch: 0)
    a, member, trace = step.learner.alphas['a'], GroupWorstCase(0.02, tuple(groups.tolist())), []

    def worst(at):
        losses = F.cross_entropy(step.learner.logits(x, alphas={'a': torch.tensor([at])}), y, reduction='none')
        return max(float(losses[groups == g].mean()) for g in range(3))

    for _ in range(4000):
        update = member.architecture_step(step)
        with torch.no_grad():
            a -= 0.02 * update.alphas['a']
        trace.append(float(a))
    grid = [k / 1000 for k in range(-3000, 3001)]
    best = min(grid, key=worst)
    found = sum(trace[2000:]) / 2000
    assert worst(found) == pytest.approx(worst(best), abs=2e-3)
    mean = min(grid, key=lambda at: float(step.learner.loss(x, y, None, {'a': torch.tensor([at])})))
    assert worst(mean) > worst(best) + 0.05, 'the average case is another architecture'


# ------------------------------------------------------------------------------------------------------------- groups


def test_groups_from_files_and_lists(tmp_path):
    numbers = [30, -2, 30, 7]
    np.save(tmp_path / 'g.npy', np.array(numbers, dtype=np.int16))
    (tmp_path / 'g.txt').write_text('\n'.join(map(str, numbers)))
    for source in (numbers, tmp_path / 'g.npy', str(tmp_path / 'g.txt')):
        assert read_groups(source).tolist() == [2, 0, 2, 1]
    assert GroupWorstCase(groups=[3, 1]) == GroupWorstCase(groups=(3, 1))


def test_a_group_belongs_to_the_index_of_an_example(float64):
    step = toy_step(FirstOrder())
    groups, indices = torch.randint(3, (50,)), torch.randperm(50)[:8]
    step.val = step.val._replace(indices=indices)
    member = GroupWorstCase(1.0, tuple(groups.tolist()))
    member.architecture_step(step)
    q, _ = plainly([1 / 3] * 3, losses_at(step.learner, step.val), groups[indices], 1.0)
    torch.testing.assert_close(step.memory['group_logarithms'].exp(), torch.tensor(q))


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        (None, 'g.npy does not exist; pass the path of a .npy or a text file'),
        (np.array([0.5, 1.0]), 'groups=.* is float64 of shape .*; give one whole number for each training example'),
        (np.zeros((2, 2), dtype=int), r'groups=.* is int64 of shape \(2, 2\)'),
        (np.zeros(0, dtype=int), r'groups=.* is int64 of shape \(0,\)'),
        (b'no array', 'is neither a readable .npy array nor a text with a whole number a line; save it with'),
    ],
)
def test_files_that_are_none_of_groups(tmp_path, content, sentence):
    path = tmp_path / 'g.npy'
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(ValueError, match=sentence):
        GroupWorstCase(groups=str(path))


def test_examples_without_a_group(float64):
    step = toy_step(FirstOrder())
    with pytest.raises(ValueError, match=r'groups has 7 numbers, and there is a training example 7 \(from 0\)'):
        GroupWorstCase(groups=(0,) * 7).architecture_step(step)
    step.val = step.val._replace(indices=None)
    with pytest.raises(ValueError, match='finds the group of a validation example by its index.*or leave groups out'):
        GroupWorstCase(groups=(0,) * 8).architecture_step(step)
    assert GroupWorstCase().architecture_step(step).alphas, 'classes need no index'
    GroupWorstCase(groups=(0,) * 8).check_examples(8)
    with pytest.raises(ValueError, match='groups must be one number for each of the 9 training examples, not 8'):
        GroupWorstCase(groups=(0,) * 8).check_examples(9)


@pytest.mark.parametrize(
    ('make', 'sentence'),
    [
        (lambda: GroupWorstCase(0.0), 'step_size must be positive and finite, not 0.0'),
        (lambda: GroupWorstCase(math.inf), 'step_size must be positive and finite, not inf'),
        (lambda: GroupWorstCase(groups=()), 'groups=.* is float64 of shape'),
        (lambda: GroupWorstCase(groups=[0.5]), 'groups=.* is float64'),
        (lambda: GroupWorstCase(every=0), 'every must be at least 1 batch, not 0'),
    ],
)
def test_impossible_numbers(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


# ------------------------------------------------------------------------------------------------------------- search


def _searched(objective, **members):
    """The strategy and its architecture after two epochs of digits."""
    strategy = run(Search(objective=objective, **members), make=make_plain_parts, epochs=2)
    module = strategy.oneshot_module
    return strategy, torch.cat([p.detach().flatten() for p in module.architecture().values()])


def test_its_arguments_reach_a_search():
    worst, moved = _searched(GroupWorstCase(0.5))
    assert len(next(worst.list_models()).sample) == 16
    metrics, memory = worst.oneshot_module.trainer.callback_metrics, worst.oneshot_module.memory
    assert metrics['loss_worst_group'] > metrics['loss_real']
    assert memory.keys() == {'group_logarithms'} and memory['group_logarithms'].shape == (10,)
    groups = tuple(k % 3 for k in range(len(make_plain_parts()[1].data.images.train)))
    for other in (GroupWorstCase(5.0), GroupWorstCase(0.5, every=3), GroupWorstCase(0.5, groups)):
        assert not torch.equal(_searched(other)[1], moved)


@pytest.mark.parametrize('members', [{'relaxation': Dirichlet()}, {'hypergradient': Unrolled()}], ids=repr)
def test_composes(members):
    assert _searched(GroupWorstCase(0.5, every=2), **members)[1].isfinite().all()
