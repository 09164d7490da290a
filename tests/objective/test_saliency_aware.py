"""Equations 1-19 of papers/sanas_supplement against one differentiation through the whole unrolled chain."""

from dataclasses import replace

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from torch.nn import functional as F
from toy import toy_step
from worst_case_search import QUIET, run

import nni_wcnas as wc
from nni_wcnas import FirstOrder, SaliencyAware, Unrolled
from nni_wcnas.contracts import Moment
from nni_wcnas.functional.hypergradient import gradient, leaves, lookahead
from nni_wcnas.objective.saliency_aware import _PERTURBATION, _SaliencyChain
from nni_wcnas.objective.second_learner import SecondLearner

LARGE = {'epsilon': 0.3, 'step_size': 0.1}
"""Perturbations at which every part of the chain weighs enough to be seen."""


@pytest.fixture
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


float64 = pytest.mark.usefixtures('_float64')


def learned(hypergradient, times=2, **arguments):
    """A toy iteration whose W2 has learned before, with momentum, and differs from W1."""
    step = toy_step(hypergradient, **arguments)
    for _ in range(times):
        SaliencyAware(**LARGE).adversary_step(step, update_generator=False)
    torch.manual_seed(11)
    return step


class Perturbing:
    """Equation 2 by hand: what changes the output of a learner most, and the images that W2 sees."""

    def __init__(self, step, objective):
        self.learner, self.objective, self.pixels = step.learner, objective, (step.train.clean + 1) / 2

    def climb(self, weights):
        """Sign steps, constants to the gradient."""
        o, pixels = self.objective, self.pixels
        radius = o.epsilon - o.step_size
        delta = (radius * (2 * torch.rand_like(pixels) - 1)).maximum(-pixels).minimum(1 - pixels)
        for _ in range(o.steps - 1):
            leaf = delta.requires_grad_()
            (slope,) = torch.autograd.grad(self.change(leaf, weights, self.learner.alphas), leaf, retain_graph=True)
            moved = (delta.detach() + o.step_size * slope.sign()).clamp(-radius, radius)
            delta = moved.maximum(-pixels).minimum(1 - pixels)
        return delta.detach()

    def change(self, delta, weights, alphas):
        logits = [
            self.learner.logits(self.learner.renormalise(2 * pixels - 1), weights, alphas)
            for pixels in (self.pixels, self.pixels + delta)
        ]
        clean, moved = (torch.log_softmax(values, -1) for values in logits)
        return (clean.exp() * (clean - moved)).sum()

    def last_step(self, start, weights, alphas):
        """The plain one; where it leaves [0, 1] it is cut."""
        leaf = start.clone().requires_grad_()
        (slope,) = torch.autograd.grad(self.change(leaf, weights, alphas), leaf, create_graph=True)
        rate = self.objective.step_size / slope.detach().abs().max(1, keepdim=True).values
        return (start + rate * slope).maximum(-self.pixels).minimum(1 - self.pixels)

    def salient(self, delta):
        size = delta.abs()
        return self.learner.renormalise(2 * self.pixels * size / size.max(1, keepdim=True).values - 1)


class Reference:
    """The objective by double autograd, with a copy of A for each place where A enters: each has a path of its own."""

    def __init__(self, step, objective):
        learner, train, val = step.learner, step.train, step.val
        perturbing, self.trade_off = Perturbing(step, objective), objective.trade_off
        self.copies = copies = {
            place: {'alpha': learner.alphas['alpha'].detach().clone().requires_grad_()}
            for place in ('training', 'change', 'salient', 'validation')
        }
        self.first = lookahead(
            lambda p: learner.loss(train.images, train.labels, p, copies['training']),
            learner.weights, create_graph=True, **vars(learner.sgd_step()),
        )  # fmt: skip
        self.end = perturbing.last_step(perturbing.climb(self.first), self.first, copies['change'])
        live = SecondLearner(step)
        self.second = lookahead(
            lambda p: learner.loss(perturbing.salient(self.end), train.labels, p, copies['salient']),
            leaves(live.weights), create_graph=True, **vars(live.numbers),
        )  # fmt: skip
        self.second_loss = learner.loss(val.images, val.labels, self.second, copies['validation'])
        self.first_loss = learner.loss(val.images, val.labels, self.first, copies['validation'])

    def paths(self, loss):
        """The derivative of a loss by the place where A enters."""
        copies = [copy['alpha'] for copy in self.copies.values()]
        return dict(zip(self.copies, torch.autograd.grad(loss, copies, retain_graph=True)))

    def total(self):
        return sum(self.paths(self.second_loss + self.trade_off * self.first_loss).values())


@float64
@pytest.mark.parametrize(
    'arguments', [{}, LARGE, {**LARGE, 'trade_off': 0.0}, {'trade_off': 2.5}, {**LARGE, 'steps': 1}], ids=str
)
@pytest.mark.parametrize('momentum', [0.0, 0.9])
@pytest.mark.parametrize(
    ('hypergradient', 'tolerance'),
    [(Unrolled(), 1e-12), (Unrolled('finite_difference', 1e-4), 1e-7), (Unrolled('finite_difference'), 2e-5)],
    ids=str,
)
def test_gradient_of_a(arguments, momentum, hypergradient, tolerance):
    objective = SaliencyAware(**arguments)
    expected = Reference(learned(Unrolled(), momentum=momentum), objective).total()
    update = objective.architecture_step(learned(hypergradient, momentum=momentum))
    torch.testing.assert_close(update.alphas['alpha'], expected, rtol=0, atol=tolerance)


@float64
def test_first_order_takes_both_learners_as_they_are():
    step = learned(FirstOrder())
    second, val = SecondLearner(step).weights, step.val
    loss = step.learner.loss(val.images, val.labels, second) + 2 * step.learner.loss(val.images, val.labels)
    (expected,) = torch.autograd.grad(loss, list(step.learner.alphas.values()))
    update = SaliencyAware(trade_off=2.0).architecture_step(step)
    torch.testing.assert_close(update.alphas['alpha'], expected, rtol=0, atol=1e-14)


@float64
@pytest.mark.parametrize('lr', [0.11, 0.4])
def test_each_factor_of_the_chain(lr):
    """Each path from A has its sign and its power of the learning rate: W2 alone, d' and W2, W1 and d' and W2."""
    step = learned(Unrolled(by='exact'))
    step.learner.numbers = replace(step.learner.numbers, lr=lr)
    objective = SaliencyAware(**LARGE)
    reference = Reference(step, objective)
    torch.manual_seed(11)
    chain = _SaliencyChain(objective, step)
    torch.testing.assert_close(chain.perturbation.end, reference.end.detach())
    past_second = chain.past_second(gradient(step.learner.loss(*step.val[:2], chain.second), chain.second))
    past_change = chain.past_perturbation(past_second[_PERTURBATION])
    to_first = {name: past_change[name] for name in chain.first}
    computed = {
        'salient': past_second['alpha'],
        'change': past_change['alpha'],
        'training': chain.ahead.indirect(to_first)['alpha'],
    }
    expected = reference.paths(reference.second_loss)
    for place, value in computed.items():
        assert expected[place].abs().max() > 1e-5, f'{place}: a vanishing reference would prove nothing'
        torch.testing.assert_close(value, expected[place], rtol=1e-9, atol=1e-14, msg=place)
    (by_end,) = torch.autograd.grad(reference.second_loss, reference.end, retain_graph=True)
    torch.testing.assert_close(past_second[_PERTURBATION], by_end)
    by_first = torch.autograd.grad(reference.second_loss, list(reference.first.values()), retain_graph=True)
    for name, value in zip(chain.first, by_first):
        torch.testing.assert_close(to_first[name], value, rtol=1e-9, atol=1e-14, msg=name)


@float64
@pytest.mark.parametrize('by', ['exact', 'finite_difference'])
def test_random_numbers_are_frozen_within_a_step(by):
    """Twice the same chain is twice the same numbers; only the start of d is drawn."""
    found = [SaliencyAware().architecture_step(learned(Unrolled(by=by))).alphas['alpha'] for _ in range(2)]
    state = torch.get_rng_state()
    assert torch.equal(*found)
    torch.manual_seed(11)
    torch.rand(8, 4)
    assert torch.equal(torch.get_rng_state(), state)


@float64
def test_perturbation_stays_in_its_ball_and_changes_the_output_more_than_noise():
    step = learned(Unrolled())
    chain = _SaliencyChain(SaliencyAware(), step)
    delta, pixels = chain.perturbation.end, chain.pixels
    assert delta.abs().max() <= 8 / 255 and delta.abs().amax(1).min() > 6 / 255
    assert (pixels + delta).min() >= 0 and (pixels + delta).max() <= 1
    found = chain.change(delta, chain.first, step.learner.alphas)
    by_noise = [chain.change(_noise_like(delta), chain.first, step.learner.alphas) for _ in range(50)]
    assert found > max(by_noise) and found > 2 * sum(by_noise) / 50
    assert found > chain.perturbation.change, 'the last step climbs as well'


def _noise_like(delta):
    """Of the same norm in each image."""
    noise, dims = torch.randn_like(delta), tuple(range(1, delta.dim()))
    return noise * (delta.square().sum(dims, keepdim=True) / noise.square().sum(dims, keepdim=True)).sqrt()


def test_on_digits_the_perturbation_changes_the_output_far_more_than_noise():
    """In a supernet that has learned for an epoch."""

    class Look(Callback):
        def on_train_end(self, trainer, module):
            step = module.iteration._step(self.batch, 0)
            chain = _SaliencyChain(SaliencyAware(), step)
            delta, pixels = chain.perturbation.end, chain.pixels
            changes = [chain.change(d, chain.first, step.learner.alphas) for d in (delta, _noise_like(delta))]
            self.found, self.by_noise = (value.item() for value in changes)
            self.moved = pixels + delta
            self.largest = delta.abs().max().item()

        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            self.batch = batch

    look = Look()
    run(wc.Search(), make=small, callbacks=[look], limit=128, epochs=2)
    assert look.found > 5 * look.by_noise > 0
    assert look.moved.min() >= 0 and look.moved.max() <= 1 and look.largest == pytest.approx(8 / 255)


@float64
def test_an_architecture_step_changes_nothing():
    step = learned(Unrolled())
    tensors = [*step.learner.weights.values(), *step.learner.alphas.values(), *step.memory.values()]
    before, names = [t.detach().clone() for t in tensors], list(step.memory)
    SaliencyAware().architecture_step(step)
    assert names == list(step.memory) and all(map(torch.equal, tensors, before))
    assert all(t.grad is None for t in tensors)


@float64
def test_w2_is_w1_until_it_has_learned_and_again_with_another_stage():
    step, objective = learned(FirstOrder(), times=0), SaliencyAware(trade_off=3.0)
    losses = objective.architecture_step(step).losses
    assert losses['second'] == losses['real'] and losses['A'] == 4 * losses['real'] and not step.memory
    live = {name: value.detach().clone() for name, value in step.learner.weights.items()}
    objective.adversary_step(step, update_generator=False)
    assert all(torch.equal(live[name], value) for name, value in step.learner.weights.items())
    assert not any(torch.equal(live[name], value) for name, value in SecondLearner(step).weights.items())
    losses = objective.architecture_step(step).losses
    assert losses['second'] != losses['real'] and losses['A'] == losses['second'] + 3 * losses['real']
    assert set(objective.architecture_step(step).losses) == {'A', 'second', 'real'}
    size = len(step.memory)
    step.moment = Moment(stage=1)
    assert objective.architecture_step(step).losses['second'] == losses['real']
    objective.adversary_step(step, update_generator=False)
    assert len(step.memory) == size, 'what is known of a stage goes with it'


@float64
@pytest.mark.parametrize('clip', [None, 0.1])
def test_w2_takes_the_optimisers_step(clip):
    """Against torch's SGD on the salient images, over three steps."""
    step, objective = learned(Unrolled(), times=0), SaliencyAware()
    step.gradient_clip_val = clip
    numbers = step.learner.numbers = replace(step.learner.numbers, buffers={})
    twin = {name: value.detach().clone().requires_grad_() for name, value in step.learner.weights.items()}
    optimizer = torch.optim.SGD(twin.values(), numbers.lr, numbers.momentum, weight_decay=numbers.weight_decay)
    for _ in range(3):
        state = torch.get_rng_state()
        found = objective.adversary_step(step, update_generator=False)
        torch.set_rng_state(state)
        perturbing, weights = Perturbing(step, objective), step.learner.weights
        end = perturbing.last_step(perturbing.climb(weights), weights, step.learner.alphas).detach()
        loss = F.cross_entropy(step.learner.logits(perturbing.salient(end), twin), step.train.labels)
        optimizer.zero_grad()
        loss.backward(inputs=list(twin.values()))
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(twin.values(), clip)
        optimizer.step()
        torch.testing.assert_close(found['W2'], loss.detach())
        for name, value in SecondLearner(step).weights.items():
            torch.testing.assert_close(value, twin[name].detach())


def _update(**arguments):
    """A's gradient, and W2 after its step."""
    step, objective = learned(Unrolled(by='exact')), SaliencyAware(**arguments)
    alphas = objective.architecture_step(step).alphas['alpha']
    objective.adversary_step(step, update_generator=False)
    return alphas, torch.cat([value.flatten() for value in SecondLearner(step).weights.values()])


@float64
@pytest.mark.parametrize(
    ('arguments', 'moves_a', 'moves_second'),
    [
        ({'trade_off': 0.0}, True, False),
        ({'epsilon': 10 / 255}, True, True),
        ({'step_size': 1 / 255}, True, True),
        ({'steps': 3}, True, True),
        ({'every': 3}, False, False),
        ({'saliency_every': 2}, False, False),
    ],
    ids=str,
)
def test_each_argument_changes_what_it_claims_and_nothing_else(arguments, moves_a, moves_second):
    (a, second), (a0, second0) = _update(**arguments), _update()
    assert torch.equal(a, a0) is not moves_a
    assert torch.equal(second, second0) is not moves_second


@float64
def test_images_without_unaugmented_copies_are_refused():
    step = learned(Unrolled())
    step.train = step.train._replace(clean=None)
    for act in (
        lambda: SaliencyAware().architecture_step(step),
        lambda: SaliencyAware().adversary_step(step, update_generator=True),
    ):
        with pytest.raises(ValueError, match='SaliencyAware needs unaugmented training images: use a SearchEvaluator'):
            act()


def test_a_stock_evaluator_is_refused(search):
    strategy = wc.Search(objective=SaliencyAware())
    with pytest.raises(ValueError, match='SaliencyAware needs unaugmented training images'):
        search(strategy, wc.spaces.DARTS(width=2, num_cells=3, operations=('skip_connect', 'avg_pool_3x3')))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'trade_off': -1.0}, 'trade_off must be 0 or more and finite, not -1.0'),
        ({'trade_off': float('nan')}, 'trade_off must be 0 or more'),
        ({'epsilon': 0.0}, 'epsilon must be above 0 and below 1, as pixels are in .0, 1., not 0.0'),
        ({'epsilon': 8.0}, 'epsilon must be above 0 and below 1, as pixels are in .0, 1., not 8.0'),
        ({'step_size': 0.04}, 'step_size must be above 0 and below epsilon=0.0313.*, not 0.04'),
        ({'step_size': -0.01}, 'step_size must be above 0'),
        ({'steps': 0}, 'steps must be at least 1, not 0'),
        ({'every': 0}, 'every must be at least 1 batch, not 0'),
        ({'saliency_every': 0}, 'saliency_every must be at least 1 batch, not 0'),
    ],
)
def test_impossible_numbers(arguments, message):
    with pytest.raises(ValueError, match=message):
        SaliencyAware(**arguments)


class Watch(Callback):
    """Which batches move A and W2, passes through the supernet in training, and W2's loss at each of its steps."""

    def setup(self, trainer, module, stage):
        self.passes, self.moved, self.losses, self.module = 0, [], [], module
        module.model.register_forward_pre_hook(self._pass)

    def _pass(self, model, inputs):
        self.passes += model.training

    def _state(self):
        return {
            'A': [value.detach().clone() for value in self.module.architecture().values()],
            'W1': [value.detach().clone() for value in self.module.weights().values()],
            'W2': [value.clone() for name, value in self.module.memory.items() if ' weight ' in name],
        }

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.before = self._state()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        after = self._state()
        moved = {
            name for name, values in after.items()
            if len(values) != len(self.before[name]) or not all(map(torch.equal, values, self.before[name]))
        }  # fmt: skip
        self.moved.append(moved)
        if 'W2' in moved:
            self.losses.append(module.iteration.losses['W2'].item())


def small(*, width=4, limit=64, epochs=1, **evaluator):
    """Digits, a space of one node a cell and two operations, no tester."""
    torch.manual_seed(0)
    space = wc.spaces.DARTS(width=width, num_cells=3, num_nodes=1, operations=('skip_connect', 'dil_conv_3x3'))
    data = wc.data.Digits(batch_size=8, limit=limit)
    return space, wc.SearchEvaluator(data, max_epochs=epochs, limit_val_batches=0, **QUIET, **evaluator)


@pytest.mark.parametrize(('by', 'passes'), [('exact', 7), ('finite_difference', 13)])
def test_a_search_moves_a_and_w2_when_they_are_due_within_the_budget_of_passes(by, passes):
    """Each epoch counts its batches from 0; an architecture step takes some passes and the gradients of d."""
    watch = Watch()
    members = {'objective': SaliencyAware(every=3, saliency_every=2, steps=2), 'hypergradient': Unrolled(by)}
    run(wc.Search(**members), make=small, callbacks=[watch], epochs=2)
    assert watch.moved == [{'W1', 'A', 'W2'}, {'W1'}, {'W1', 'W2'}, {'W1', 'A'}] * 2
    assert watch.passes == 2 * (4 + 2 * (passes + 2) + 2 * (2 + 2))


@pytest.mark.parametrize(('by', 'passes'), [('exact', 6.8), ('finite_difference', 8)])
def test_passes_a_batch_in_the_published_rhythm(by, passes):
    watch = Watch()
    run(wc.presets.sanas(base='darts', hypergradient=Unrolled(by)), make=small, callbacks=[watch], limit=240)
    assert [i for i, moved in enumerate(watch.moved) if 'A' in moved] == [0, 5, 10]
    assert [i for i, moved in enumerate(watch.moved) if 'W2' in moved] == [0, 3, 6, 9, 12]
    assert watch.passes == passes * 15


def test_w2_learns_in_the_warm_up_and_differs_from_w1():
    """Its loss falls by a third; A stands still meanwhile."""
    watch = Watch()
    members = {'objective': SaliencyAware(saliency_every=1, steps=1), 'schedule': wc.SingleStage(warmup=7)}
    run(wc.Search(**members), make=small, callbacks=[watch], limit=128, epochs=8, lr=0.1)
    assert all('A' not in moved for moved in watch.moved[:56])
    assert sum(watch.losses[-8:]) < 0.67 * sum(watch.losses[:8])
    state = watch._state()
    assert not any(map(torch.equal, state['W1'], state['W2'])) and len(state['W1']) == len(state['W2'])


def test_preset_searches_digits():
    strategy = run(wc.presets.sanas(schedule=wc.SingleStage()), make=small, width=8, limit_train_batches=2)
    assert len(next(strategy.list_models()).sample) == 8
