"""SelfPaced and InstanceHardness: their weights, their gradients, and what is remembered."""

import pytest
import torch
from torch.nn import functional as F
from toy import toy_step

from nni_wcnas import FirstOrder, InstanceHardness, SelfPaced, Unrolled
from nni_wcnas.contracts import Moment
from nni_wcnas.functional.bandits import drawn, probabilities
from nni_wcnas.functional.hypergradient import lookahead

HARDNESS = {'exp3', 'ucb', 'thompson'}


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def losses_at(learner, batch, weights=None):
    return F.cross_entropy(learner.logits(batch.images, weights), batch.labels, reduction='none')


@pytest.mark.parametrize('regularizer', ['binary', 'linear', 'logarithmic', 'mixture'])
def test_unrolled_gradient_of_the_weighted_loss(regularizer):
    """Against one differentiation through the unrolled step, the weights held."""
    step = toy_step(Unrolled(by='exact'))
    learner, member = step.learner, SelfPaced(regularizer)
    ahead = lookahead(
        lambda p: learner.loss(*step.train[:2], p), learner.weights, create_graph=True, **vars(learner.sgd_step())
    )
    losses = losses_at(learner, step.val, ahead)
    counts = member.weights(losses.detach(), step.moment)
    (expected,) = torch.autograd.grad((counts * losses).sum() / counts.sum(), list(learner.alphas.values()))
    update = member.architecture_step(step)
    torch.testing.assert_close(update.alphas['alpha'], expected, rtol=0, atol=1e-12)
    assert update.losses['A'] > update.losses['real'], 'hard examples count more'


def test_first_order_gradient_of_the_drawn_examples():
    step = toy_step(FirstOrder())
    torch.manual_seed(1)
    update = InstanceHardness(share=0.5).architecture_step(_at(step, 7))
    torch.manual_seed(1)
    losses = losses_at(step.learner, step.val)
    chosen = drawn(torch.full((8,), 1 / 8), 4)
    (expected,) = torch.autograd.grad(losses[chosen > 0].mean(), list(step.learner.alphas.values()))
    torch.testing.assert_close(update.alphas['alpha'], expected, rtol=0, atol=1e-12)


def _at(step, epoch, warmup=0):
    step.moment = Moment(epoch, 10, warmup)
    return step


def test_share_of_hard_examples_by_epoch():
    """Linear."""
    member = SelfPaced(initial=0.2, final=0.6)
    assert [member.share(Moment(epoch, 5)) for epoch in (0, 2, 4)] == pytest.approx([0.2, 0.4, 0.6])
    losses = torch.arange(1.0, 11.0)
    assert member.weights(losses, Moment(0, 5)).tolist() == [0] * 8 + [1] * 2
    assert member.weights(losses, Moment(4, 5)).tolist() == [0] * 4 + [1] * 6


@pytest.mark.parametrize('regularizer', ['linear', 'logarithmic', 'mixture'])
def test_soft_weights_rise_with_the_loss(regularizer):
    counts = SelfPaced(regularizer).weights(torch.linspace(0.01, 3, 40), Moment(0, 10))
    assert (counts.diff() >= 0).all() and 0 <= counts[0] < 0.05 and counts[-1] == 1
    assert ((counts > 0) & (counts < 1)).any()


def test_equal_losses_count_equally():
    for regularizer in ('binary', 'linear', 'logarithmic', 'mixture'):
        assert SelfPaced(regularizer).weights(torch.full((5,), 0.7), Moment(0, 10)).tolist() == [1] * 5
        assert SelfPaced(regularizer).weights(torch.zeros(5), Moment(0, 10)).tolist() == [1] * 5


def test_temperature_and_share_by_episode():
    member = InstanceHardness(share=0.3)
    assert [round(member.temperature(e), 3) for e in (0, 1, 2, 30)] == [20.0, 16.0, 12.8, 1.0]
    assert [round(member.drawn_share(e), 3) for e in (0, 1, 2, 30)] == [1.0, 0.9, 0.81, 0.3]


def test_exp3_remembers_importance_weighted_losses_of_what_was_drawn():
    step = _at(toy_step(FirstOrder()), 3)
    member = InstanceHardness('exp3', share=0.4)
    before = torch.rand(8)
    step.memory |= {'sum': before.clone(), 'count': torch.ones(8), 'episode': torch.tensor(3)}
    losses = losses_at(step.learner, step.val).detach()
    p = probabilities(before, member.temperature(3))
    torch.manual_seed(2)
    chosen = drawn(p, 6)
    torch.manual_seed(2)
    member.architecture_step(step)
    assert chosen.sum() == 6, '0.9^3 of 8, rounded up'
    torch.testing.assert_close(step.memory['sum'], before + chosen * losses / (p + 1e-8))
    torch.testing.assert_close(step.memory['count'], 1 + chosen)


def test_ucb_remembers_mean_losses_and_shrinks_them_with_an_episode():
    step = _at(toy_step(FirstOrder()), 0)
    member = InstanceHardness('ucb')
    member.architecture_step(step)
    losses = losses_at(step.learner, step.val).detach()
    torch.testing.assert_close(step.memory['sum'], losses)
    member.architecture_step(_at(step, 1))
    chosen = step.memory['count'] - 0.9
    assert chosen.sum().round() == 8, '0.9 of 8, rounded up'
    torch.testing.assert_close(step.memory['sum'], 0.9 * losses + chosen * losses)


def test_thompson_counts_flips():
    step = _at(toy_step(FirstOrder()), 0)
    member = InstanceHardness('thompson')
    member.architecture_step(step)
    right = (step.learner.logits(step.val.images).argmax(1) == step.val.labels).double()
    assert not step.memory['flips'].any() and not step.memory['stays'].any(), 'nothing to compare with'
    torch.testing.assert_close(step.memory['right'], right)
    step.memory['right'][:3] = 1 - step.memory['right'][:3]
    member.architecture_step(step)
    assert step.memory['flips'].tolist() == [1] * 3 + [0] * 5
    assert step.memory['stays'].tolist() == [0] * 3 + [1] * 5


@pytest.mark.parametrize('bandit', sorted(HARDNESS))
def test_what_is_remembered_belongs_to_the_example_and_not_to_its_place(bandit):
    """Two batches of one episode with other examples at other places."""
    step = _at(toy_step(FirstOrder()), 0)
    member = InstanceHardness(bandit)
    first, second = torch.tensor([20, 3, 7, 11, 2, 30, 5, 9]), torch.tensor([9, 40, 20, 1, 3, 50, 60, 0])
    step.val = step.val._replace(indices=first)
    member.architecture_step(step)
    kept = {name: value.clone() for name, value in step.memory.items() if name != 'episode'}
    assert set(kept['count'].nonzero().flatten().tolist()) == set(first.tolist())
    step.val = step.val._replace(indices=second)
    member.architecture_step(step)
    count = step.memory['count']
    assert {index for index in range(61) if count[index] == 2} == {3, 9, 20}
    assert {index for index in range(61) if count[index] == 1} == set(first.tolist() + second.tolist()) - {3, 9, 20}
    alone = [index for index in first.tolist() if index not in second.tolist()]
    for name, value in kept.items():
        assert torch.equal(step.memory[name][alone], value[alone]), name


def test_flips_and_stays_shrink_with_an_episode_and_what_was_not_drawn_keeps_its_prediction():
    step = _at(toy_step(FirstOrder()), 30)
    right = (step.learner.logits(step.val.images).argmax(1) == step.val.labels).double()
    step.memory |= {'flips': torch.full((8,), 10.0), 'stays': torch.full((8,), 20.0), 'count': torch.ones(8),
                    'right': 1 - right, 'episode': torch.tensor(29)}  # fmt: skip
    InstanceHardness('thompson', share=0.3).architecture_step(step)
    chosen = step.memory['count'] > 0.95
    assert chosen.sum() == 3
    torch.testing.assert_close(step.memory['flips'], 9.0 + chosen.double())
    torch.testing.assert_close(step.memory['stays'], torch.full((8,), 18.0))
    torch.testing.assert_close(step.memory['right'], torch.where(chosen, right, 1 - right))


def test_warm_up_is_no_part_of_the_curriculum():
    """Neither of the episodes nor of the pace."""
    step = _at(toy_step(FirstOrder()), 4, warmup=3)
    InstanceHardness().architecture_step(step)
    assert step.memory['episode'] == 1
    member = SelfPaced(initial=0.2, final=0.6)
    assert [member.share(Moment(epoch, 5, 2)) for epoch in (0, 2, 3, 4)] == pytest.approx([0.2, 0.2, 0.4, 0.6])
    assert member.share(Moment(2, 3, 2)) == pytest.approx(0.2)


@pytest.mark.parametrize('bandit', sorted(HARDNESS))
def test_examples_that_stay_hard_are_drawn_more_often(bandit):
    """One example flips and loses far more than the others."""
    torch.manual_seed(0)
    step = _at(toy_step(FirstOrder()), 9)
    hard = torch.zeros(8)
    hard[5] = 40.0
    step.memory |= {'sum': hard + 1, 'count': torch.ones(8), 'flips': hard, 'stays': 40 - hard, 'right': torch.ones(8),
                    'episode': torch.tensor(9)}  # fmt: skip
    known = dict(step.memory)
    member, times = InstanceHardness(bandit, share=0.25), torch.zeros(8)
    for _ in range(60):
        step.memory.clear()
        step.memory |= {name: value.clone() for name, value in known.items()}
        member.architecture_step(step)
        times += step.memory['count'] - known['count']
    assert times[5] > 1.5 * times[[0, 1, 2, 3, 4, 6, 7]].max()


def test_examples_without_indices_are_refused():
    step = toy_step(FirstOrder())
    step.val = step.val._replace(indices=None)
    with pytest.raises(ValueError, match='InstanceHardness keeps the hardness of each validation example by its index'):
        InstanceHardness().architecture_step(step)


@pytest.mark.parametrize(
    ('make', 'sentence'),
    [
        (lambda: SelfPaced('square'), "regularizer must be one of .*, not 'square'"),
        (lambda: SelfPaced(initial=0.0), 'initial must be above 0 and at most final \\(0.75\\), not 0.0'),
        (lambda: SelfPaced(initial=0.8, final=0.5), 'initial must be above 0 and at most final .*, not 0.8'),
        (lambda: SelfPaced(every=0), 'every must be at least 1 batch'),
        (lambda: InstanceHardness('greedy'), "bandit must be one of exp3, ucb, thompson, not 'greedy'"),
        (lambda: InstanceHardness(share=0.0), 'share must be above 0 and at most 1'),
        (lambda: InstanceHardness(every=0), 'every must be at least 1 batch'),
    ],
)
def test_impossible_numbers(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
