"""SynthesizedValidation: its gradient, its batch, and who learns from what."""

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from toy import toy_step
from worst_case_search import run

from nni_wcnas import FirstOrder, Search, SynthesizedValidation, Unrolled
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
    assert not update.hyperparameters


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
        ({'real_share': 1.0}, 'below 1, not 1.0; for real images alone take objective=AverageCase'),
        ({'real_share': -0.1}, 'real_share must be at least 0'),
        ({'every': 0}, 'every must be at least 1 batch'),
    ],
)
def test_impossible_numbers(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        SynthesizedValidation(**arguments)
