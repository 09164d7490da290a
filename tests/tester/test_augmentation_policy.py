"""The augmentation policy: its gradient against a plain implementation, its draws, its table; it gets harder."""

from __future__ import annotations

import math
import pickle

import pytest
import torch

from nni_wcnas import AugmentationPolicy
from nni_wcnas.contracts import Batch, Noise
from nni_wcnas.data import Digits
from nni_wcnas.tester import default_auxiliary, make_auxiliary


def real(count=6, size=8, seed=0, dtype=torch.float32) -> Batch:
    random = torch.Generator().manual_seed(seed)
    clean = (torch.rand(count, 3, size, size, generator=random) * 2 - 1).to(dtype)
    return Batch(clean, torch.arange(count), None, clean)


def learned(seed=0, **options) -> AugmentationPolicy:
    """A policy in the middle of its learning, in float64."""
    policy = AugmentationPolicy(10, image_size=8, **options).double()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.normal_()
    return policy


def plainly(policy: AugmentationPolicy, noise: Noise) -> torch.Tensor:
    """f(P, x), image by image and pair by pair: a hard one-hot vector with the gradient of the soft one."""
    draws, temperature, images = noise.latent, policy.temperature, []
    for n in range(len(noise.labels)):
        row = n if policy.per_sample else 0
        x = (draws.images[n : n + 1] + 1) / 2
        soft = torch.softmax((policy.selection + draws.selection[row]) / temperature, 0)
        hard = torch.nn.functional.one_hot(soft.argmax(), len(policy.pairs)).double()
        weights = hard + soft - soft.detach()  # Straight-through.
        mixed = x
        for k, pair in enumerate(policy.pairs):
            if not hard[k]:
                continue  # The one approximation of the estimator.
            changed = x
            for i, operation in enumerate(pair):
                relaxed = torch.sigmoid((policy.probability[k, i] + draws.switches[row, i]) / temperature)
                gate = relaxed - relaxed.detach()
                magnitude = policy.magnitude[k, i].sigmoid().view(1)
                told = magnitude, draws.signs[n : n + 1, i], draws.places[n : n + 1, i]
                after = policy.operations[operation](changed, *told)
                changed = (after if relaxed > 0.5 else changed) + gate * (after - changed)
            mixed = mixed + weights[k] * (changed - x)
        images.append(2 * mixed - 1)
    return torch.cat(images)


def _hardness(images: torch.Tensor) -> torch.Tensor:
    """Some smooth function of images."""
    weights = torch.linspace(-1, 1, images[0].numel(), dtype=images.dtype).view_as(images[0])
    return ((images * weights).sum((1, 2, 3)).sin() + images.pow(3).mean((1, 2, 3))).sum()


@pytest.mark.parametrize('operations', ['dada', 'gentle', ['hue', 'rotate', 'blur']])
@pytest.mark.parametrize('per_sample', [True, False])
@pytest.mark.parametrize('seed', range(3))
def test_images_and_gradient_are_those_of_a_plain_implementation(per_sample, seed, operations):
    policy = learned(seed, per_sample=per_sample, temperature=0.7, operations=operations)
    noise = policy.noise(40, real(40, dtype=torch.float64))
    images, expected = policy.generate(noise), plainly(policy, noise)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-12)
    ours, theirs = (torch.autograd.grad(_hardness(x), list(policy.parameters())) for x in (images, expected))
    for one, other in zip(ours, theirs):
        assert other.abs().max() > 1e-3 or not per_sample
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_gradient_of_the_selection_in_closed_form():
    """All 105 logits learn from one image: -<dL/dx, change> / temperature w_k w_j, and w_k (1 - w_k) for the chosen."""
    policy = learned(temperature=2.0)
    noise = policy.noise(1, real(1, dtype=torch.float64))
    images = policy.generate(noise)
    gradient = torch.autograd.grad(_hardness(images), policy.selection, retain_graph=True)[0]
    (by_images,) = torch.autograd.grad(_hardness(leaf := images.detach().requires_grad_()), leaf)
    weights = ((policy.selection + noise.latent.selection[0]) / 2.0).softmax(0).detach()
    chosen = weights.argmax()
    change = (by_images * (images - noise.latent.images)).sum()
    expected = change / 2.0 * weights[chosen] * (torch.nn.functional.one_hot(chosen, 105) - weights)
    torch.testing.assert_close(gradient, expected.detach())
    assert (gradient != 0).all()


def test_mixed_second_derivatives_are_exact():
    """d/dv of dL/dP, which an exact hypergradient takes, for every operation at once."""
    policy = learned()
    noise = policy.noise(60, real(60, dtype=torch.float64))
    v = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def slope(v):
        loss = (v * policy.generate(noise)).sin().sum()
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(policy.parameters()), create_graph=True)])

    direction = torch.randn(105 * 5, dtype=torch.float64)
    (exact,) = torch.autograd.grad(slope(v) @ direction, v)
    difference = ((slope(v + 1e-5) - slope(v - 1e-5)) @ direction).detach() / 2e-5
    torch.testing.assert_close(exact, difference, rtol=1e-6, atol=0)


@pytest.mark.parametrize('per_sample', [True, False])
def test_noise_is_all_that_is_random(per_sample):
    policy = learned(per_sample=per_sample).float()
    torch.manual_seed(3)
    noise = policy.noise(12, real())
    state = torch.get_rng_state()
    images = policy.generate(noise)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, policy.generate(noise)) and images.shape == (12, 3, 8, 8)
    torch.manual_seed(3)
    assert torch.equal(images, policy.generate(policy.noise(12, real())))
    assert not torch.equal(images, policy.generate(policy.noise(12, real())))
    assert images.min() >= -1 - 1e-6 and images.max() <= 1 + 1e-6


def test_images_are_drawn_without_repetition_and_keep_their_labels():
    policy, batch = AugmentationPolicy(10, image_size=8), real(6)
    for count in (1, 6, 12, 15):
        noise = policy.noise(count, batch)
        assert torch.equal(noise.latent.images, batch.clean[noise.labels])
        times = noise.labels.bincount(minlength=6)
        assert len(noise.labels) == count and times.max() - times.min() <= 1
    assert not torch.equal(policy.noise(6, batch).labels, batch.labels)


def test_one_sub_policy_for_the_batch_or_one_for_each_image():
    kinds = {}
    for per_sample in (True, False):
        policy = AugmentationPolicy(10, image_size=8, per_sample=per_sample)
        torch.manual_seed(0)
        draws = policy.noise(32, real(32)).latent
        kinds[per_sample] = (policy.selection + draws.selection).argmax(-1).unique().numel()
        assert draws.signs.shape == (32, 2) and draws.places.shape == (32, 2, 2)
        assert set(draws.signs.flatten().tolist()) == {-1.0, 1.0}
    assert kinds[False] == 1 < kinds[True]


def test_temperature_acts_on_gradients_alone():
    noise = learned().noise(20, real(20, dtype=torch.float64))
    one, other = learned(temperature=0.5), learned(temperature=1.5)
    first, second = one.generate(noise), other.generate(noise)
    assert torch.equal(first, second)
    gradients = [torch.autograd.grad(_hardness(x), list(p.parameters())) for p, x in ((one, first), (other, second))]
    moved = {name: not torch.equal(a, b) for (name, _), a, b in zip(one.named_parameters(), *gradients)}
    assert moved == {'selection': True, 'probability': True, 'magnitude': False}


def test_probabilities_and_shares_are_those_of_the_draws():
    """Frequencies over many draws, within four standard deviations."""
    policy = AugmentationPolicy(10, image_size=3)
    with torch.no_grad():
        policy.selection[7], policy.probability[:] = math.log(52.0), 1.0
    torch.manual_seed(0)
    draws = policy.noise(20_000, real(5, size=3)).latent
    chosen = (policy.selection + draws.selection).argmax(-1)
    assert (chosen == 7).float().mean().item() == pytest.approx(1 / 3, abs=4 * math.sqrt(2 / 9 / 20_000))
    acts = (1.0 + draws.switches > 0).float().mean().item()
    assert acts == pytest.approx(1 / (1 + math.exp(-1)), abs=4 * math.sqrt(0.2 / 40_000))


def test_a_policy_that_never_acts_leaves_the_images():
    policy = AugmentationPolicy(10, image_size=8)
    with torch.no_grad():
        policy.probability.fill_(-100.0)
    noise = policy.noise(6, real())
    torch.testing.assert_close(policy.generate(noise), noise.latent.images)


def test_starts_where_dada_starts_and_says_so():
    policy = AugmentationPolicy(10)
    assert policy.values() == pytest.approx(
        {'policy_entropy': math.log(105), 'policy_share': 1 / 105, 'policy_probability': 0.5, 'policy_magnitude': 0.5}
    )
    assert policy.hyperparameters().keys() == {'selection', 'probability', 'magnitude'}
    assert policy.generator_parameters().keys() == policy.hyperparameters().keys()
    assert policy.optimizers(3) == [] and policy.adversary_step(real(), update_generator=True) == {}


def test_the_table_begins_with_the_strongest():
    policy = AugmentationPolicy(10)
    with torch.no_grad():
        policy.selection[0], policy.selection[104], policy.probability[104, 1] = 2.0, 3.0, 100.0
    rows = policy.sub_policies()
    assert len(rows) == 25 and len(policy.sub_policies(200)) == 105
    assert rows[0].operations == ('sharpness', 'cutout') and rows[1].operations == ('shear_x', 'shear_y')
    assert rows[0].probabilities == (0.5, 1.0) and rows[0].magnitudes == (0.5, 0.5)
    assert rows[0].share == pytest.approx(math.exp(3) / (math.exp(3) + math.exp(2) + 103))
    assert policy.values()['policy_share'] == pytest.approx(rows[0].share)


def test_pickles_and_computes_in_full_precision_under_autocast():
    policy = learned().float()
    noise = policy.noise(8, real())
    images = policy.generate(noise)
    assert torch.equal(pickle.loads(pickle.dumps(policy)).generate(noise), images)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(policy.generate(noise), images)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'num_classes': 0}, 'num_classes must be at least 1'),
        ({'num_classes': 3, 'image_size': 2}, 'image_size must be at least 3 pixels, or 0 for any, not 2'),
        ({'num_classes': 3, 'temperature': 0.0}, 'temperature must be positive and finite, not 0.0'),
        ({'num_classes': 3, 'temperature': math.nan}, 'temperature must be positive'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AugmentationPolicy(**arguments)


def test_images_that_are_missing_or_of_another_size():
    policy = AugmentationPolicy(10, image_size=8)
    for source in (None, real()._replace(clean=None)):
        with pytest.raises(ValueError, match='changes real images, and there are none: give it a batch'):
            policy.noise(4, source)
    with pytest.raises(ValueError, match=r'images of 8 pixels, and these have 9; use .*image_size=9'):
        policy.noise(4, real(size=9))
    assert AugmentationPolicy(10, image_size=0).noise(4, real(size=9)).latent.images.shape == (4, 3, 9, 9)


def test_no_trunk_to_tie():
    policy = AugmentationPolicy(3, image_size=16)
    assert default_auxiliary(AugmentationPolicy) == 'small_resnet'
    assert make_auxiliary('test_resnet', policy).learnable()
    with pytest.raises(TypeError, match='shares a discriminator, and AugmentationPolicy has none'):
        make_auxiliary('tied', policy)


def test_ascent_makes_images_harder_for_a_learner_that_stays():
    """The policy's purpose: a classifier trained on digits errs more on what it has learned to make."""
    torch.manual_seed(0)
    batch = next(iter(Digits(batch_size=400, limit=800).train_dataloader()))
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(batch.clean), batch.labels).backward()
        optimizer.step()
    policy = AugmentationPolicy(10, image_size=16)

    def loss(count=64):
        noise = policy.noise(count, batch)
        return torch.nn.functional.cross_entropy(net(policy.generate(noise)), noise.labels)

    def mean_loss():
        torch.manual_seed(1)
        with torch.no_grad():
            return torch.stack([loss(400) for _ in range(4)]).mean().item()

    before = mean_loss()
    ascent = torch.optim.Adam(policy.parameters(), 0.05, betas=(0.5, 0.999), maximize=True)
    for _ in range(60):
        ascent.zero_grad()
        loss().backward()
        ascent.step()
    after = mean_loss()
    assert after > 1.3 * before
    assert policy.values()['policy_entropy'] < math.log(105) - 0.1


def test_operations_are_those_that_were_chosen():
    """In pairs in the order that was told, with their ranges, in the table by name."""
    policy = AugmentationPolicy(10, image_size=8, operations={'blur': None, 'hue': [-20, 20], 'rotate': None})
    assert policy.pairs == ((0, 1), (0, 2), (1, 2)) and policy.values()['policy_entropy'] == pytest.approx(math.log(3))
    assert {row.operations for row in policy.sub_policies()} == {('blur', 'hue'), ('blur', 'rotate'), ('hue', 'rotate')}
    assert len(AugmentationPolicy(10, operations='gentle').pairs) == 66
    with torch.no_grad():
        policy.selection[2], policy.probability[:], policy.magnitude[:] = 100.0, 100.0, 100.0
    noise = policy.noise(6, real())
    assert not torch.equal(policy.generate(noise), noise.latent.images)
    with torch.no_grad():
        policy.magnitude[2] = 0.0  # The middle of both ranges: no turn.
    torch.testing.assert_close(policy.generate(noise), noise.latent.images)
