"""SelectedExamples: its gradients, what is selected, and that pairs stay what they are."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F
from toy import toy_step
from worst_case_search import run

from nni_wcnas import FirstOrder, Search, SelectedExamples, Unrolled
from nni_wcnas.functional.hypergradient import lookahead
from nni_wcnas.objective.selected_examples import _images, _noise


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def losses_of(step, weights, noise):
    """Of a block, by hand."""
    images = step.learner.renormalise(_images(step, noise))
    return F.cross_entropy(step.learner.logits(images, weights), noise.labels, reduction='none')


@pytest.mark.parametrize('gamma', [0.0, 0.7])
@pytest.mark.parametrize('hypergradient', [FirstOrder(), Unrolled(by='exact')])
def test_gradient_and_selection(hypergradient, gamma):
    """With a single block, dA and the direction of s against one differentiation through the unrolled step."""
    step = toy_step(hypergradient)
    learner, before = step.learner, torch.rand(70) * 0.8 + 0.1
    step.memory['selection'] = before.clone()
    weights = learner.weights
    if hypergradient.unrolls:
        weights = lookahead(
            lambda p: learner.loss(*step.train[:2], p), weights, create_graph=True, **vars(learner.sgd_step())
        )
    s = before.clone().requires_grad_()
    losses = losses_of(step, weights, _noise(step, 0, 70))
    total = (s * losses).sum() / s.sum() + gamma * learner.loss(*step.val[:2], weights)
    expected, rise = torch.autograd.grad(total, [learner.alphas['alpha'], s])
    objective = SelectedExamples(pairs=70, average_weight=gamma, selection_lr=0.01)
    update = objective.architecture_step(step)
    torch.testing.assert_close(update.alphas['alpha'], expected, rtol=0, atol=1e-12)
    moved = step.memory['selection'] - before
    torch.testing.assert_close(moved, 0.01 * rise * before.sum(), rtol=0, atol=1e-12)


def test_blocks_are_an_unbiased_estimate_of_all_pairs(monkeypatch):
    """The mean of dA over the blocks is dA of the weighted loss of all pairs; a deselected block counts for little."""
    step = toy_step(FirstOrder())
    before = torch.cat((torch.full((64,), 0.9), torch.full((64,), 0.002), torch.rand(64)))
    alpha, found = step.learner.alphas['alpha'], []
    noises = [_noise(step, block, 64) for block in range(3)]
    monkeypatch.setattr('nni_wcnas.objective.selected_examples._noise', lambda step, block, count: noises[block])
    for block in range(3):
        step.memory = {'selection': before.clone()}
        monkeypatch.setattr(torch, 'randint', lambda *_, block=block: torch.tensor(block))
        found.append(SelectedExamples(pairs=192, average_weight=0).architecture_step(step).alphas['alpha'])
    monkeypatch.undo()
    losses = torch.cat([losses_of(step, step.learner.weights, noise) for noise in noises])
    (expected,) = torch.autograd.grad((before * losses).sum() / before.sum(), [alpha])
    torch.testing.assert_close(torch.stack(found).mean(0), expected, rtol=0, atol=1e-12)
    assert found[1].norm() < 0.02 * found[0].norm()


def test_the_ascent_ends_at_the_best_selection():
    """A ratio of linear functions is largest in a corner of the box, with the largest losses up: all are tried."""
    step = toy_step(FirstOrder())
    objective = SelectedExamples(pairs=64, average_weight=0)
    for _ in range(2000):
        objective.architecture_step(step)
    s, losses = step.memory['selection'], losses_of(step, step.learner.weights, _noise(step, 0, 64)).detach()
    order = losses.argsort(descending=True)
    corners = torch.full((64, 64), 0.001)
    for size in range(64):
        corners[size, order[: size + 1]] = 1.0
    values = (corners * losses).sum(1) / corners.sum(1)
    assert values.argmax() < 5 < values.argmin()
    torch.testing.assert_close(s, corners[values.argmax()])


def test_whole_blocks_are_deselected():
    """Those whose losses are all below the weighted mean of all."""
    step = toy_step(FirstOrder())
    plain = step.learner.logits

    def easy_in_the_first_block(images, weights=None, alphas=None):
        first = len(images) == 64 and torch.equal(images, first_images)
        logits = plain(images, weights, alphas)
        return logits + 50 * F.one_hot(first_labels, logits.shape[1]) if first else logits

    noise = _noise(step, 0, 64)
    first_images, first_labels = step.learner.renormalise(_images(step, noise)), noise.labels
    step.learner.logits = easy_in_the_first_block
    for _ in range(200):
        SelectedExamples(pairs=192, average_weight=0).architecture_step(step)
    assert (step.memory['selection'][:64] == 0.001).all()
    assert (step.memory['selection'][64:] == 1).any()


def test_only_the_drawn_block_learns_and_its_images_are_the_same_each_time():
    step = toy_step(FirstOrder())
    seen = []
    plain = step.tester.generate
    step.tester.generate = lambda noise, generator=None: seen.append(noise) or plain(noise, generator)
    changed = set()
    for _ in range(12):
        before = step.memory.get('selection', torch.full((150,), 0.5))
        SelectedExamples(pairs=150).architecture_step(step)
        moved = (step.memory['selection'] != before).nonzero().flatten()
        block = set((moved // 75).tolist())
        assert len(block) == 1
        changed |= block
    assert changed == {0, 1}
    assert {len(noise.labels) for noise in seen} == {75}, 'two equal blocks of at least 64'
    assert len({noise.latent[0, 0].item() for noise in seen}) == 2


@pytest.mark.parametrize('rate', [0.0, 0.5])
def test_in_a_search(rate):
    """The selection learns at its rate; neither the generator nor B nor the auxiliary model moves."""
    torch.set_default_dtype(torch.float32)
    module = run(Search(objective=SelectedExamples(pairs=100, selection_lr=rate, every=1))).oneshot_module
    assert (module.memory['selection'] != 0.5).any() == bool(rate)
    assert module.training_module.tester.average.n_averaged == 0
    tester = module.training_module.tester
    assert all(map(torch.equal, tester.generator.parameters(), tester.average.module.parameters()))


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        ({'pairs': 63}, 'pairs must be at least 64, one block of them, not 63'),
        ({'average_weight': -1.0}, 'average_weight must be 0 or more'),
        ({'selection_lr': float('nan')}, 'selection_lr must be 0 or more'),
        ({'every': 0}, 'every must be at least 1 batch'),
    ],
)
def test_impossible_numbers(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        SelectedExamples(**arguments)


@pytest.mark.parametrize('needs_tester', [lambda step: _noise(step, 0, 64), lambda step: _images(step, None)])
def test_a_step_without_a_tester_is_refused(needs_tester):
    with pytest.raises(ValueError, match='SelectedExamples needs a tester: give the search a SearchEvaluator'):
        needs_tester(SimpleNamespace(tester=None))
