"""SynthesizedValidation: its gradient, its batch, and who learns from what."""

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from toy import toy_step
from worst_case_search import run

from nni_wcnas import BigGAN, FirstOrder, Search, SynthesizedValidation, Unrolled
from nni_wcnas.functional.hypergradient import lookahead


@pytest.fixture
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def synthesized(step, real):
    """The batch, by hand."""
    noise = step.tester.noise(8 - real)
    images = step.learner.renormalise(step.tester.generate(noise)).detach()
    return torch.cat((step.val.images[:real], images)), torch.cat((step.val.labels[:real], noise.labels))


@pytest.mark.usefixtures('_float64')
@pytest.mark.parametrize(('share', 'real'), [(0.0, 0), (0.3, 2), (0.99, 7)])
@pytest.mark.parametrize('hypergradient', [FirstOrder(), Unrolled(by='exact')])
def test_gradient(hypergradient, share, real):
    """Against one differentiation through the unrolled step."""
    step = toy_step(hypergradient)
    learner = step.learner
    torch.manual_seed(1)
    images, labels = synthesized(step, real)
    weights = learner.weights
    if hypergradient.unrolls:
        weights = lookahead(
            lambda p: learner.loss(*step.train[:2], p), weights, create_graph=True, **vars(learner.sgd_step())
        )
    (expected,) = torch.autograd.grad(learner.loss(images, labels, weights), list(learner.alphas.values()))
    torch.manual_seed(1)
    update = SynthesizedValidation(share).architecture_step(step)
    torch.testing.assert_close(update.alphas['alpha'], expected, rtol=0, atol=1e-12)
    assert update.ascent is None


@pytest.mark.usefixtures('_float64')
@pytest.mark.parametrize(('share', 'real'), [(0.0, 0), (0.3, 2)])
@pytest.mark.parametrize('by', ['exact', 'finite_difference'])
def test_gradients_of_both_architectures(by, share, real):
    """dA and dB against one differentiation through both unrolled steps; B ascends."""
    step = toy_step(Unrolled(by=by))
    learner, tester = step.learner, step.tester
    torch.manual_seed(1)
    z0, z1 = tester.noise(8), tester.noise(8 - real)
    weights = lookahead(
        lambda p: learner.loss(*step.train[:2], p), learner.weights, create_graph=True, **vars(learner.sgd_step())
    )
    generator = lookahead(
        lambda g: tester.generation_loss(z0, g)[0],
        tester.generator_parameters(),
        create_graph=True,
        **vars(tester.generator_step()),
    )
    images = torch.cat((step.val.images[:real], learner.renormalise(tester.generate(z1, generator))))
    loss = learner.loss(images, torch.cat((step.val.labels[:real], z1.labels)), weights)
    b = tester.hyperparameters()
    expected = torch.autograd.grad(loss, [learner.alphas['alpha'], *b.values()])
    torch.manual_seed(1)
    update = SynthesizedValidation(share, hyperparameter_lr=0.1).architecture_step(step)
    ascent = update.ascent()
    found = [update.alphas['alpha'], *(ascent.hyperparameters[name] for name in b)]
    assert all(value.abs().max() > 1e-6 for value in expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12 if by == 'exact' else 1e-6)


def test_the_discriminators_architecture_is_learned_in_a_search():
    """B moves with its rate, and only then; the discriminator's weights learn in either case."""
    for rate in (0.0, 0.1):
        tester = BigGAN(10, image_size=16, width=8, latent=8, learns='architecture')
        weight = tester.discriminator.get_parameter('head.linear.bias').clone()
        objective = SynthesizedValidation(hyperparameter_lr=rate)
        module = run(Search(objective=objective, hypergradient=Unrolled()), tester=tester).oneshot_module
        found = module.training_module.tester
        assert (found.hyperparameters()['trunk.logits'] != 0).any() == bool(rate)
        assert not torch.equal(found.discriminator.get_parameter('head.linear.bias'), weight)


def test_learning_b_needs_an_unrolled_hypergradient_and_a_generator_that_learns():
    with pytest.raises(ValueError, match='SynthesizedValidation learns B.*FirstOrder'):
        Search(objective=SynthesizedValidation(hyperparameter_lr=0.1))
    with pytest.raises(ValueError, match='hyperparameter_lr=0.1 does nothing for a generator that does not learn'):
        SynthesizedValidation(hyperparameter_lr=0.1, trains_tester=False)


def test_the_gan_learns_from_the_architectures_half_on_every_batch():
    seen = []
    step = toy_step(FirstOrder())
    step.tester.adversary_step = lambda batch, update_generator: seen.append((batch, update_generator)) or {}
    for due in (True, False):
        SynthesizedValidation().adversary_step(step, update_generator=due)
    assert [(batch is step.val, learns) for batch, learns in seen] == [(True, True)] * 2
    SynthesizedValidation(trains_tester=False).adversary_step(step, update_generator=True)
    assert len(seen) == 2


@pytest.mark.parametrize('trains', [True, False])
def test_in_a_search(trains):
    """The GAN moves or not; B and the auxiliary model never."""
    start = AtStart()
    module = run(Search(objective=SynthesizedValidation(trains_tester=trains)), callbacks=[start]).oneshot_module
    parts = start.parts(module)
    moved = {part for part, values in parts.items() if not all(map(torch.equal, values, start.before[part]))}
    assert moved == ({'G'} if trains else set())


class AtStart(Callback):
    """What the parts of the adversary are before the search."""

    def on_train_start(self, trainer, module):
        self.before = {part: [value.clone() for value in values] for part, values in self.parts(module).items()}

    @staticmethod
    def parts(module):
        tester, auxiliary = module.training_module.tester, module.training_module.auxiliary
        groups = {'G': tester.generator_parameters(), 'B': tester.hyperparameters(), 'V': auxiliary.learnable()}
        return {part: [value.detach() for value in group.values()] for part, group in groups.items()}


def test_a_search_without_a_tester_is_refused():
    step = toy_step(FirstOrder())
    step.tester = None
    with pytest.raises(ValueError, match='SynthesizedValidation needs a tester'):
        SynthesizedValidation().architecture_step(step)


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        ({'real_share': 1.0}, 'real_share=1.0 is not at least 0 and below 1'),
        ({'real_share': -0.1}, 'real_share=-0.1 is not at least 0'),
        ({'hyperparameter_lr': -1.0}, 'hyperparameter_lr must be 0 or more'),
        ({'every': 0}, 'every must be at least 1 batch'),
    ],
)
def test_impossible_numbers(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        SynthesizedValidation(**arguments)
