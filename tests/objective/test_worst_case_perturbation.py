"""The worst case over perturbations: A's gradient by one differentiation around a plain attack; no B, no V."""

import pytest
import torch
from test_worst_case_policy import CLASSES, COUNT, SIZE, ImageLearner
from torch.nn import functional as F

from nni_wcnas import FirstOrder, Perturbation, Unrolled, WorstCase
from nni_wcnas.contracts import Batch, SGDStep, Step
from nni_wcnas.functional.decorrelation import decorrelation
from nni_wcnas.functional.hypergradient import lookahead


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _step(hypergradient, **options):
    torch.manual_seed(0)
    learner, tester = ImageLearner(None), Perturbation(CLASSES, image_size=SIZE, **options)
    buffers = {name: torch.randn_like(value) for name, value in learner.weights.items()}
    learner.numbers = SGDStep(0.11, 0.9, 0.05, buffers)
    batches = []
    for _ in range(2):
        clean = torch.rand(COUNT, 3, SIZE, SIZE) * 2 - 1
        batches.append(Batch(2 * clean + 0.5, torch.randint(CLASSES, (COUNT,)), torch.arange(COUNT), clean))
    return Step(*batches, learner, hypergradient, lambda batch: learner.loss(*batch[:2]), tester, None)


def _attacked(learner, weights, images, labels, epsilon, steps):
    """PGD in [-1, 1], where epsilon is twice as large, with a plain loop."""
    weights = {name: value.detach() for name, value in weights.items()}
    size, x = 2 * epsilon * (1 if steps == 1 else 2.5 / steps), images.clone()
    for _ in range(steps):
        x = x.detach().requires_grad_()
        (rise,) = torch.autograd.grad(F.cross_entropy(learner.logits(learner.renormalise(x), weights), labels), x)
        x = torch.minimum(torch.maximum(x + size * rise.sign(), images - 2 * epsilon), images + 2 * epsilon)
        x = x.clamp(-1, 1)
    return x.detach()


@pytest.mark.parametrize(('epsilon', 'steps'), [(0.05, 1), (0.1, 4)])
@pytest.mark.parametrize('arguments', [{}, {'trade_off': 0.0}, {'average_weight': 0.0}, {'decov': 2.0}], ids=str)
@pytest.mark.parametrize(
    ('hypergradient', 'tolerance'),
    [(FirstOrder(), 1e-12), (Unrolled(), 1e-10), (Unrolled('finite_difference', 1e-4), 1e-6)],
    ids=str,
)
def test_gradient_of_a(epsilon, steps, arguments, hypergradient, tolerance):
    objective, step = WorstCase(**arguments), _step(hypergradient, epsilon=epsilon, steps=steps)
    learner, weights = step.learner, step.learner.weights
    torch.manual_seed(7)
    _, _, noise = (step.tester.noise(COUNT, step.val) for _ in range(3))
    if hypergradient.unrolls:
        numbers = vars(learner.sgd_step())
        weights = lookahead(lambda p: learner.loss(*step.train[:2], p), weights, create_graph=True, **numbers)
    images = _attacked(learner, weights, noise.latent.images, noise.labels, epsilon, steps)
    worst, features = learner.loss_and_features(learner.renormalise(images), noise.labels, weights)
    total = worst + objective.decov * decorrelation(features)
    total = total + objective.average_weight * learner.loss(*step.val[:2], weights)
    (expected,) = torch.autograd.grad(total, learner.alphas['alpha'])
    torch.manual_seed(7)
    update = objective.architecture_step(step)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(update.alphas['alpha'], expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(update.losses['generated'], worst.detach(), rtol=0, atol=1e-10)
    clean = learner.loss(learner.renormalise(noise.latent.images), noise.labels, weights)
    assert update.losses['generated'] > clean + 0.05, 'the attack is one'


def test_images_are_those_of_the_validation_batch_and_there_is_nothing_but_a():
    step, seen = _step(Unrolled()), []
    step.val = step.val._replace(clean=step.val.clean * 0 + 0.3)
    attack = step.tester.attack
    step.tester.attack = lambda images, noise, logits: seen.append((images, noise)) or attack(images, noise, logits)
    update = WorstCase(trade_off=3.0).architecture_step(step)
    ((images, noise),) = seen
    assert (images == 0.3).all() and torch.equal(noise.labels.bincount(), step.val.labels.bincount())
    assert update.ascent is None and update.losses.keys() == {'A', 'generated', 'real', 'decov'}
    assert WorstCase(trade_off=3.0).adversary_step(step, update_generator=True) == {}


def test_the_step_changes_nothing_and_draws_only_noise():
    step = _step(Unrolled(), steps=3, random_start=True)
    before = {name: value.detach().clone() for name, value in step.learner.weights.items()}
    torch.manual_seed(3)
    WorstCase().architecture_step(step)
    state = torch.get_rng_state()
    assert all(torch.equal(value, before[name]) and value.grad is None for name, value in step.learner.weights.items())
    assert step.learner.alphas['alpha'].grad is None
    torch.manual_seed(3)
    for _ in range(3):
        step.tester.noise(COUNT, step.val)
    assert torch.equal(torch.get_rng_state(), state)
