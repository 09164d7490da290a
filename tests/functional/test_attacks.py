"""Attacks against foolbox's, against closed forms on linear models, and what they may not change."""

import math
import warnings

import pytest
import torch
from torch import nn

from nni_wcnas.functional.attacks import adversarial_examples, carlini_wagner, fgsm, pgd

with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Its imports are of older versions of scipy.
    import foolbox

EPSILON, STEP = 8 / 255, 2 / 255
CARLINI_WAGNER = {'searches': 6, 'steps': 60, 'initial_weight': 2**-7}


@pytest.fixture(scope='module')
def network():
    """Steep enough to be attacked, on images of 8 pixels; in double precision, where paths do not part by rounding."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10)
    with torch.no_grad():
        layers[-1].weight.mul_(4)
    return nn.Sequential(*layers).double().eval().requires_grad_(False)


@pytest.fixture(scope='module')
def pixels():
    """Black and full ones among them."""
    drawn = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (1.2 * drawn - 0.1).clamp(0, 1)


@pytest.fixture(scope='module')
def labels(network, pixels):
    """What the network says, but for one that is wrong before any attack."""
    found = network(pixels).argmax(1)
    found[3] = (found[3] + 1) % 10
    return found


def foolbox_attack(attack, network, pixels, labels, epsilon):
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device='cpu')
    return attack(model, pixels, labels, epsilons=epsilon)[0]


def distances(attacked, pixels):
    return (attacked - pixels).flatten(1).norm(dim=1)


class TestFoolbox:
    @pytest.mark.parametrize('epsilon', [EPSILON, 0.1])
    def test_fgsm(self, network, pixels, labels, epsilon):
        expected = foolbox_attack(foolbox.attacks.FGSM(), network, pixels, labels, epsilon)
        torch.testing.assert_close(fgsm(network, pixels, labels, epsilon=epsilon), expected, atol=1e-6, rtol=0)
        assert (network(expected).argmax(1) != labels).sum() > 4

    @pytest.mark.parametrize('steps', [10, 20, 100])
    @pytest.mark.parametrize('step_size', [STEP, 0.003])
    def test_pgd(self, network, pixels, labels, steps, step_size):
        attack = foolbox.attacks.LinfPGD(steps=steps, abs_stepsize=step_size, random_start=False)
        expected = foolbox_attack(attack, network, pixels, labels, EPSILON)
        found = pgd(network, pixels, labels, steps=steps, step_size=step_size)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)

    @pytest.mark.parametrize(('confidence', 'abort_early'), [(0, False), (0.5, False), (0, True)])
    def test_carlini_wagner(self, network, pixels, labels, confidence, abort_early):
        """Image by image, as foolbox stops all when their sum has stopped falling."""
        attack = foolbox.attacks.L2CarliniWagnerAttack(
            binary_search_steps=6, steps=60, initial_const=2**-7, confidence=confidence, abort_early=abort_early
        )
        pixels, labels = pixels[:6], labels[:6]
        groups = (pixels.split(1), labels.split(1)) if abort_early else ([pixels], [labels])
        expected = torch.cat([foolbox_attack(attack, network, *group, None) for group in zip(*groups)])
        found = carlini_wagner(
            network, pixels, labels, confidence=confidence, abort_early=abort_early, **CARLINI_WAGNER
        )
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
        assert (network(found).argmax(1) != labels).all()


class Linear(nn.Module):
    """Two logits whose difference is linear in the pixels."""

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, pixels):
        rise = (pixels * self.slope).flatten(1).sum(1)
        return torch.stack([-rise, rise], 1)


@pytest.fixture
def slope():
    return torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


class TestLinearModel:
    def test_signs_of_the_slope(self, slope):
        """Four steps reach the edge of the ball wherever they start; the logit of the label 1 falls with the slope."""
        pixels, labels = torch.full((2, 3, 4, 4), 0.5, dtype=torch.float64), torch.tensor([0, 1])
        expected = pixels + EPSILON * torch.stack([slope.sign(), -slope.sign()])
        torch.testing.assert_close(fgsm(Linear(slope), pixels, labels), expected)
        torch.testing.assert_close(pgd(Linear(slope), pixels, labels, steps=4), expected)
        generator = torch.Generator().manual_seed(0)
        torch.testing.assert_close(pgd(Linear(slope), pixels, labels, steps=8, generator=generator), expected)
        short = pgd(Linear(slope), pixels, labels, steps=3)
        torch.testing.assert_close(short - pixels, (expected - pixels) * 3 / 4)

    def test_clipped_to_pixels(self, slope):
        pixels, labels = torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)]).double(), torch.tensor([0, 0])
        expected = (pixels + EPSILON * slope.sign()).clamp(0, 1)
        torch.testing.assert_close(fgsm(Linear(slope), pixels, labels), expected)
        torch.testing.assert_close(pgd(Linear(slope), pixels, labels, steps=20), expected)

    @pytest.mark.parametrize('confidence', [0.0, 0.2])
    def test_nearest_pixels_are_those_across_the_plane(self, slope, confidence):
        """The distance from the plane on which the other logit exceeds the true one by the confidence."""
        pixels = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64) + 0.002 * slope.sign()
        labels = Linear(slope)(pixels).argmax(1)
        gap = 2 * (pixels * slope).sum().abs() + confidence
        found = carlini_wagner(Linear(slope), pixels, labels, confidence=confidence, steps=200, initial_weight=0.01)
        best = (gap / (2 * slope.norm())).item()
        assert best <= distances(found, pixels).item() <= 1.01 * best


def test_within_the_ball_and_the_pixels(network, pixels, labels):
    generator = torch.Generator().manual_seed(0)
    for found in (
        fgsm(network, pixels, labels),
        pgd(network, pixels, labels, steps=10),
        pgd(network, pixels, labels, steps=10, step_size=1.0),
        adversarial_examples(network, pixels, labels, generator=generator),
    ):
        assert found.min() >= 0 and found.max() <= 1
        assert (found - pixels).abs().max() <= EPSILON + 1e-12
        assert not found.requires_grad
    found = carlini_wagner(network, pixels, labels, **CARLINI_WAGNER)
    assert found.min() >= 0 and found.max() <= 1 and not found.requires_grad


class TestRandomStart:
    def test_uniform_in_the_ball_where_no_pixel_matters(self, pixels, labels):
        """Of logits that ignore the pixels the attack returns its start."""

        def ignorant(given):
            return 0 * given.flatten(1)[:, :10]

        inside = pixels.clamp(EPSILON, 1 - EPSILON)
        start = pgd(ignorant, inside, labels, steps=1, generator=torch.Generator().manual_seed(0)) - inside
        assert start.abs().max() <= EPSILON + 1e-12
        assert start.abs().mean().item() == pytest.approx(EPSILON / 2, rel=0.05)
        assert start.mean().abs() < 0.05 * EPSILON
        torch.testing.assert_close(pgd(ignorant, inside, labels, steps=1), inside)

    def test_the_generator_alone_is_drawn_from(self, network, pixels, labels):
        before = torch.get_rng_state()
        found = [
            pgd(network, pixels, labels, steps=2, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
        ]
        assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
        assert torch.get_rng_state().equal(before)

    def test_training_examples_are_seven_steps_of_it(self, network, pixels, labels):
        found, expected = (
            attack(network, pixels, labels, generator=torch.Generator().manual_seed(5), **arguments)
            for attack, arguments in ((adversarial_examples, {}), (pgd, {'steps': 7}))
        )
        assert torch.equal(found, expected)


class TestCarliniWagner:
    @pytest.mark.parametrize('abort_early', [False, True])
    def test_each_image_is_attacked_by_itself(self, network, pixels, labels, abort_early):
        together = carlini_wagner(network, pixels, labels, abort_early=abort_early, **CARLINI_WAGNER)
        alone = carlini_wagner(network, pixels[4:5], labels[4:5], abort_early=abort_early, **CARLINI_WAGNER)
        torch.testing.assert_close(together[4:5], alone)

    def test_an_image_that_withstands_comes_back_as_it_was(self, pixels, labels):
        def sure(given):
            return nn.functional.one_hot(labels, 10) * 100 + 0 * given.flatten(1)[:, :10]

        assert torch.equal(carlini_wagner(sure, pixels, labels, **CARLINI_WAGNER), pixels)

    def test_an_image_that_is_wrong_already_is_next_to_itself(self, network, pixels, labels):
        found = distances(carlini_wagner(network, pixels, labels, **CARLINI_WAGNER), pixels)
        assert found[3] < 1e-4 and found[torch.arange(12) != 3].min() > 1e-3

    def test_each_number_acts(self, network, pixels, labels):
        """More searches or steps never lead farther, as the nearest of all is kept."""

        pixels, labels = pixels[:5], labels[:5]

        def run(**changed):
            arguments = {**CARLINI_WAGNER, 'abort_early': False, 'steps': 30, **changed}
            return distances(carlini_wagner(network, pixels, labels, **arguments), pixels)

        base = run()
        assert (run(searches=8) <= base).all() and (run(searches=8) < base).any()
        assert run(steps=60).median() < base.median()
        is_right = network(pixels).argmax(1) == labels
        assert (run(confidence=0.1) > base)[is_right].all()
        for changed in ({'step_size': 0.02}, {'initial_weight': 0.5}, {'abort_early': True}):
            assert not torch.equal(run(**changed), base)


@pytest.mark.parametrize(
    'attack', [fgsm, lambda *given: pgd(*given, steps=3), lambda *given: carlini_wagner(*given, searches=2, steps=3)]
)
def test_the_model_is_left_alone(attack):
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4).eval())
    images, labels = torch.rand(5, 3, 2, 2), torch.randint(4, (5,))
    given, modes = images.clone(), [part.training for part in network.modules()]
    with torch.no_grad():  # As in a loop of evaluation.
        attack(network, images, labels)
    assert [part.training for part in network.modules()] == modes == [True, True, True, False]
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(images, given) and not images.requires_grad


@pytest.mark.parametrize(
    ('attack', 'arguments', 'message'),
    [
        (fgsm, {'epsilon': 0}, 'epsilon must be above 0 and finite, not 0'),
        (pgd, {'steps': 1, 'epsilon': math.nan}, 'epsilon must be above 0 and finite, not nan'),
        (pgd, {'steps': 1, 'step_size': -1}, 'step_size must be above 0 and finite, not -1'),
        (pgd, {'steps': 0}, 'steps must be at least 1, not 0'),
        (carlini_wagner, {'confidence': -1}, 'confidence must be 0 or more and finite, not -1'),
        (carlini_wagner, {'searches': 0}, 'searches must be at least 1, not 0'),
        (carlini_wagner, {'steps': 0}, 'steps must be at least 1, not 0'),
        (carlini_wagner, {'step_size': math.inf}, 'step_size must be above 0 and finite, not inf'),
        (carlini_wagner, {'initial_weight': 0.0}, 'initial_weight must be above 0 and finite, not 0.0'),
    ],
)
def test_numbers_out_of_range(attack, arguments, message):
    with pytest.raises(ValueError, match=message):
        attack(nn.Flatten(), torch.rand(2, 3, 2, 2), torch.zeros(2, dtype=torch.long), **arguments)
