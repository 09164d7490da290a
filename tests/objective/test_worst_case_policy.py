"""Equation 6 of papers/wcnas, where P (policy or corruptions) is B itself, against one differentiation of the chain."""

import pytest
import torch
from torch.nn import functional as F
from toy import CLASSES, DroppingAuxiliary, ReplayingAuxiliary, ToyAuxiliary, ToyLearner

from nni_wcnas import AugmentationPolicy, Corruptions, FirstOrder, SynthesizedValidation, Unrolled, WorstCase
from nni_wcnas.contracts import Batch, SGDStep, Step
from nni_wcnas.functional.decorrelation import decorrelation
from nni_wcnas.functional.hypergradient import gradient, lookahead

SIZE, COUNT = 5, 24
PIXELS = 3 * SIZE * SIZE


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class ImageLearner(ToyLearner):
    """The toy on images of three channels."""

    def __init__(self, numbers):
        super().__init__(numbers)
        self._weights['first'] = (torch.randn(5, PIXELS) / 4).requires_grad_()


def on_images(kind):
    """A toy auxiliary model on images of three channels."""

    class ImageAuxiliary(kind):
        def __init__(self, numbers):
            super().__init__(numbers)
            self.head = torch.nn.Parameter(torch.randn(CLASSES, PIXELS) / 4)

    return ImageAuxiliary


def _step(hypergradient, *, momentum=0.9, auxiliary=ToyAuxiliary, tester=AugmentationPolicy, **options):
    torch.manual_seed(0)
    learner, policy, auxiliary = ImageLearner(None), tester(CLASSES, image_size=SIZE, **options), auxiliary(None)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.normal_()
    for rate, owner, parameters in ((0.11, learner, learner.weights), (0.37, auxiliary, auxiliary.learnable())):
        buffers = {name: torch.randn_like(value) for name, value in parameters.items()} if momentum else {}
        owner.numbers = SGDStep(rate, momentum, 0.05, buffers)
    batches = []
    for _ in range(2):
        clean = torch.rand(COUNT, 3, SIZE, SIZE) * 2 - 1
        batches.append(Batch(2 * clean + 0.5, torch.randint(CLASSES, (COUNT,)), torch.arange(COUNT), clean))
    return Step(*batches, learner, hypergradient, lambda batch: learner.loss(*batch[:2]), policy, auxiliary)


def _reference(step, objective, unroll=True):
    """A's and P's gradients by double autograd; the decorrelation is A's alone; noise is drawn as in the step."""
    policy, auxiliary, learner = step.tester, step.auxiliary, step.learner
    _, z1, z2 = (policy.noise(COUNT, step.train) for _ in range(3))

    def ahead(loss, parameters, numbers):
        return lookahead(loss, parameters, create_graph=True, **vars(numbers))

    v = ahead(lambda p: auxiliary.loss(policy.generate(z1), z1.labels, p), auxiliary.learnable(), auxiliary.sgd_step())
    w = learner.weights
    if unroll:
        w = ahead(lambda p: learner.loss(*step.train[:2], p), learner.weights, learner.sgd_step())
    worst, features = learner.loss_and_features(learner.renormalise(policy.generate(z2)), z2.labels, w)
    of_a = worst + objective.decov * decorrelation(features)
    of_a = of_a + objective.average_weight * learner.loss(*step.val[:2], w)
    of_p = worst - objective.trade_off * auxiliary.loss(step.val.clean, step.val.labels, v)
    found = gradient(of_a, learner.alphas, create_graph=True)
    return found | gradient(of_p, policy.hyperparameters())


def _both(hypergradient, objective, *, unroll=True, auxiliaries=(ToyAuxiliary, ToyAuxiliary), **arguments):
    """Reference and what the objective computes, from the same seed."""
    first, second = (on_images(kind) for kind in auxiliaries)
    step = _step(hypergradient, auxiliary=first, **arguments)
    torch.manual_seed(7)
    expected = _reference(step, objective, unroll)
    step = _step(hypergradient, auxiliary=second, **arguments)
    torch.manual_seed(7)
    update = objective.architecture_step(step)
    return expected, {**update.alphas, **update.ascent().hyperparameters}


def _compare(expected, computed, tolerance):
    assert computed.keys() == expected.keys() > {'alpha', 'selection'}
    for name, value in expected.items():
        assert value.abs().max() > 1e-3, f'{name}: a vanishing reference would prove nothing'
        torch.testing.assert_close(computed[name], value, rtol=0, atol=tolerance, msg=name)


@pytest.mark.parametrize('arguments', [{}, {'trade_off': 3.0}, {'average_weight': 0.0}, {'decov': 2.0}], ids=str)
@pytest.mark.parametrize('momentum', [0.0, 0.9])
@pytest.mark.parametrize(
    ('hypergradient', 'tolerance'), [(Unrolled(), 1e-10), (Unrolled('finite_difference', 1e-4), 1e-6)], ids=str
)
def test_gradients_of_a_and_p(arguments, momentum, hypergradient, tolerance):
    _compare(*_both(hypergradient, WorstCase(**arguments), momentum=momentum), tolerance)


@pytest.mark.parametrize('arguments', [{}, {'trade_off': 3.0}, {'average_weight': 0.0}], ids=str)
@pytest.mark.parametrize(
    ('hypergradient', 'tolerance'), [(Unrolled(), 1e-10), (Unrolled('finite_difference', 1e-4), 1e-6)], ids=str
)
def test_gradients_of_a_and_of_corruptions(arguments, hypergradient, tolerance):
    expected, computed = _both(hypergradient, WorstCase(**arguments), tester=Corruptions)
    assert computed.keys() == {'alpha', 'selection', 'severity'}
    _compare(expected, computed, tolerance)
    expected, computed = _both(FirstOrder(), WorstCase(**arguments), unroll=False, tester=Corruptions)
    for name, value in expected.items():
        torch.testing.assert_close(computed[name], value, rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize('per_sample', [True, False])
def test_the_papers_radius_and_first_order(per_sample):
    _compare(*_both(Unrolled('finite_difference'), WorstCase(trade_off=3.0)), 1e-3)
    expected, computed = _both(FirstOrder(), WorstCase(), unroll=False, per_sample=per_sample)
    for name, value in expected.items():
        torch.testing.assert_close(computed[name], value, rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize('per_sample', [True, False])
def test_without_a_third_stage_p_climbs_the_learners_loss_alone(per_sample):
    """lambda = 0: dP is the plain gradient of the learner's loss on f(P, x) at W'."""
    objective = WorstCase(trade_off=0.0, decov=0.0)
    expected, computed = _both(Unrolled(by='exact'), objective, per_sample=per_sample)
    for name, value in expected.items():
        torch.testing.assert_close(computed[name], value, rtol=0, atol=1e-12, msg=name)
    assert computed['selection'].abs().max() > 1e-4


def test_dropout_in_the_auxiliary_model_is_frozen_within_a_step():
    kinds = {'auxiliaries': (ReplayingAuxiliary, DroppingAuxiliary)}
    _compare(*_both(Unrolled(by='exact'), WorstCase(trade_off=3.0), **kinds), 1e-10)


def test_lambda_scales_the_third_stage_linearly_and_leaves_a():
    updates = []
    for trade_off in (0.0, 1.0, 2.0):
        step = _step(Unrolled(by='exact'), auxiliary=on_images(ToyAuxiliary))
        torch.manual_seed(7)
        updates.append(WorstCase(trade_off=trade_off).architecture_step(step))
    assert all(torch.equal(update.alphas['alpha'], updates[0].alphas['alpha']) for update in updates)
    none, one, two = (torch.cat([g.flatten() for g in update.ascent().hyperparameters.values()]) for update in updates)
    assert (one - none).abs().max() > 1e-4
    torch.testing.assert_close(two - none, 2 * (one - none), rtol=1e-9, atol=1e-15)


def test_the_step_changes_nothing_and_draws_only_noise():
    step = _step(Unrolled(), auxiliary=on_images(DroppingAuxiliary))
    tensors = [*step.learner.weights.values(), *step.tester.parameters(), *step.auxiliary.parameters()]
    before = [tensor.detach().clone() for tensor in tensors]
    torch.manual_seed(3)
    WorstCase().architecture_step(step).ascent()
    state = torch.get_rng_state()
    assert all(torch.equal(*pair) for pair in zip(tensors, before)) and all(t.grad is None for t in tensors)
    torch.manual_seed(3)
    for _ in range(3):
        step.tester.noise(COUNT, step.train)
    assert torch.equal(torch.get_rng_state(), state)


def test_v_learns_from_changed_training_images_and_nothing_else_learns():
    seen = []

    class Watching(on_images(ToyAuxiliary)):
        def train_step(self, images, labels):
            seen.append((images, labels))
            return F.cross_entropy(images.flatten(1) @ self.head.T, labels).detach()

    step = _step(Unrolled(), auxiliary=Watching)
    torch.manual_seed(3)
    losses = WorstCase().adversary_step(step, update_generator=True)
    torch.manual_seed(3)
    noise = step.tester.noise(COUNT, step.train)
    assert losses.keys() == {'V'} and not seen[0][0].requires_grad
    assert torch.equal(seen[0][0], step.tester.generate(noise)) and torch.equal(seen[0][1], noise.labels)


def test_members_say_whether_they_need_a_generator():
    assert SynthesizedValidation().needs_generator and not WorstCase().needs_generator
