from __future__ import annotations

import pytest
import torch
from small import changed, epoch, real_batch, snapshot
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from nni_wcnas.functional.core_set import core_set
from nni_wcnas.functional.gradient_penalty import squared_slope
from nni_wcnas.functional.hypergradient import implicit_product
from nni_wcnas.tester import StyleGAN2ADA, pretrain


def _tester(**options) -> StyleGAN2ADA:
    torch.manual_seed(0)
    return StyleGAN2ADA(3, **{'image_size': 16, 'width': 4, 'latent': 6, **options})


def _losses(tester, batch, noise):
    """Of the discriminator, without augmentation."""
    return tester.discriminator_loss(batch.clean, batch.labels, tester.generate(noise).detach(), noise.labels)


def test_losses_are_logistic_with_real_and_fake_images_apart():
    tester = _tester(ada_target=None, r1_gamma=0.0)
    batch, noise = real_batch(), tester.noise(4)
    real = tester.discriminator(batch.clean, batch.labels)
    fake = tester.discriminator(tester.generate(noise), noise.labels)
    loss, _, scores = _losses(tester, batch, noise)
    torch.testing.assert_close(scores, real)
    torch.testing.assert_close(loss, F.softplus(-real).mean() + F.softplus(fake).mean())
    torch.testing.assert_close(tester.generation_loss(noise)[0], F.softplus(-fake).mean())


@pytest.mark.parametrize('steps', [0, 1, 15, 16, 32])
def test_r1_is_lazy_and_as_much_stronger(steps):
    plain, penalised = (_tester(ada_target=None, r1_gamma=gamma) for gamma in (0.0, 3.0))
    batch, noise = real_batch(), plain.noise(4)
    penalised.discriminator.steps.fill_(steps)
    images = batch.clean.clone().requires_grad_()
    expected = 16 * 1.5 * squared_slope(plain.discriminator(images, batch.labels), images) if steps % 16 == 0 else 0.0
    difference = _losses(penalised, batch, noise)[0] - _losses(plain, batch, noise)[0]
    torch.testing.assert_close(difference, expected + torch.zeros(()))
    assert not batch.clean.requires_grad


def test_only_the_discriminators_steps_count_and_adapt():
    tester = _tester(ada_speed=40)
    tester.optimizers(1, learns_b=False)
    with torch.no_grad():
        tester.discriminator.head.score.bias.fill_(50.0)  # Sure that everything is real.
    losses = tester.adversary_step(real_batch(), update_generator=True)
    assert losses['augmentation'] == 0
    probability = tester.discriminator.augmentation.probability
    assert (tester.discriminator.steps, probability) == (1, pytest.approx(0.1))
    tester.train_generator(4, tester._generator_optimizer)
    tester.generation_loss(tester.noise(4))
    assert (tester.discriminator.steps, probability) == (1, pytest.approx(0.1))
    assert tester.adversary_step(real_batch(), update_generator=False)['augmentation'] == pytest.approx(0.1)


@pytest.mark.parametrize(('options', 'expected'), [({'ada_speed': 80}, 0.05), ({'ada_target': None}, 0.0),
                                                   ({'ada_target': 0.0}, 0.0), ({'ada_target': 0.99}, 0.1)])
def test_augmentations_arguments_act(options, expected):
    def after(**options):
        tester = _tester(**{'ada_speed': 40, **options})
        tester.optimizers(1, learns_b=False)
        with torch.no_grad():
            tester.discriminator.head.score.bias.fill_(50.0)
        tester.adversary_step(real_batch(), update_generator=False)
        return tester

    tester = after(**options)
    assert tester.discriminator.augmentation.probability.item() == pytest.approx(expected)


def test_both_real_and_generated_images_are_augmented_in_the_discriminators_loss(monkeypatch):
    tester = _tester()
    tester.discriminator.augmentation.probability.fill_(1.0)
    seen = []
    plain = tester.discriminator.forward
    monkeypatch.setattr(tester.discriminator, 'forward',
                        lambda images, labels, draws=None: seen.append(draws) or plain(images, labels, draws))
    batch, noise = real_batch(), tester.noise(4)
    tester.discriminator_loss(batch.clean, batch.labels, tester.generate(noise).detach(), noise.labels)
    assert len(seen) == 2 and all(draws is not None for draws in seen)
    assert not torch.equal(seen[0].plane, seen[1].plane)


def test_augmentation_is_for_the_game_and_not_for_the_trunk_or_the_scores():
    tester = _tester()
    batch, noise = real_batch(), tester.noise(4)
    before = tester.trunk(batch.clean), tester.realism(batch.clean, batch.labels), tester.generation_loss(noise)[0]
    tester.discriminator.augmentation.probability.fill_(1.0)
    after = tester.trunk(batch.clean), tester.realism(batch.clean, batch.labels), tester.generation_loss(noise)[0]
    assert torch.equal(before[0], after[0]) and torch.equal(before[1], after[1])
    assert not torch.equal(before[2], after[2])
    one, draws = tester.generation_loss(noise)
    assert torch.equal(tester.generation_loss(noise, statistics=draws)[0], one)
    assert not torch.equal(tester.generation_loss(noise)[0], one)


def test_mixed_derivative_through_the_augmentation():
    tester = _tester().double()
    tester.discriminator.augmentation.probability.fill_(1.0)
    noise = tester.noise(4)
    _, draws = tester.generation_loss(noise)

    def loss(generator, hyperparameters):
        return tester.generation_loss(noise, generator, hyperparameters, draws)[0]

    live, b = tester.generator_parameters(), tester.hyperparameters()
    vector = {name: torch.randn_like(value) for name, value in live.items()}
    products = (implicit_product(loss, live, b, vector, by, radius=1e-6) for by in ('exact', 'finite_difference'))
    exact, difference = (torch.cat([value.flatten() for value in product.values()]) for product in products)
    assert exact.norm() > 0
    assert (difference - exact).norm() < 1e-5 * exact.norm()


def test_resumed_over_a_step_with_r1_equals_uninterrupted(tmp_path):
    def pretrained(steps, seed, **options):
        tester = _tester(r1_gamma=10.0, ada_speed=40, ada_target=0.1)
        torch.manual_seed(seed)
        pretrain(tester, None, epoch, steps, discriminator_steps=3, progress=False, **options)
        return tester

    whole = pretrained(7, 5)
    pretrained(4, 5, checkpoint=tmp_path / 'run.pt')
    resumed = pretrained(7, 77, checkpoint=tmp_path / 'run.pt', resume=True)
    assert whole.discriminator.steps == 21 and whole.discriminator.augmentation.probability > 0
    assert not changed(resumed, snapshot(whole))


def test_core_sets_of_pretraining_compare_the_latent_proper(monkeypatch):
    from nni_wcnas.tester import pretraining_run

    seen = []

    def watched(points, count):
        seen.append(points.shape)
        return core_set(points, count)

    monkeypatch.setattr(pretraining_run, 'chosen_points', watched)
    pretrain(_tester(), None, epoch, 1, discriminator_steps=1, core_set=2, progress=False)
    assert (8, 6) in seen and all(shape[1] != 662 for shape in seen)


def test_recipe_is_the_papers():
    assert StyleGAN2ADA.recipe.lr == 2.5e-3
    assert StyleGAN2ADA.recipe.betas == (0.0, 0.99) and StyleGAN2ADA.recipe.discriminator_steps == 1


@pytest.mark.parametrize('options', [{'r1_gamma': -1.0}, {'r1_gamma': float('inf')}, {'ada_target': 1.0},
                                     {'ada_target': -0.1}, {'ada_speed': 0}, {'width': 0}])
def test_values_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        _tester(**options)


class _Reads(TorchDispatchMode):
    """Counts how often the processor reads a number of a tensor: each time it waits for a GPU."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_the_discriminator_steps_without_waiting_for_a_gpu():
    tester = _tester()
    batch, noise = real_batch(), tester.noise(4)
    tester.commit(_losses(tester, batch, noise)[2])
    with _Reads() as reads:
        for _ in range(3):
            tester.commit(_losses(tester, batch, noise)[2])
    assert reads.count == 0
    assert tester.discriminator.steps == tester.discriminator.known_steps == 4
    # A file's number of steps is the tester's.
    other = _tester()
    assert other.discriminator.known_steps == 0
    other.load_state_dict(tester.state_dict())
    assert other.discriminator.known_steps == 4
