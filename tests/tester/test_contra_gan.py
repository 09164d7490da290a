from __future__ import annotations

import pytest
import torch
from small import real_batch

from nni_wcnas.contracts import Noise
from nni_wcnas.functional.contrastive import conditional_contrastive
from nni_wcnas.functional.gan_losses import discriminator_hinge
from nni_wcnas.tester import ContraGAN


def _tester(**options) -> ContraGAN:
    torch.manual_seed(0)
    return ContraGAN(3, **{'image_size': 16, 'width': 4, 'latent': 6, 'embedding_size': 5, **options})


def test_losses_are_the_hinge_and_the_weighted_contrast():
    tester = _tester(weight=0.3, temperature=2.0).eval()
    batch, noise = real_batch(), Noise(torch.randn(4, 6), torch.tensor([0, 1, 1, 2]))
    fake = tester.generate(noise)
    loss, losses, _ = tester.discriminator_loss(batch.clean, batch.labels, fake, noise.labels)
    real, made = tester.discriminator(batch.clean, batch.labels), tester.discriminator(fake, noise.labels)
    contrasts = [conditional_contrastive(own.embeddings, own.proxies, own.labels, 2.0) for own in (real, made)]
    torch.testing.assert_close(losses['contrast'], contrasts[0])
    torch.testing.assert_close(loss, discriminator_hinge(real.scores, made.scores) + 0.3 * contrasts[0])
    torch.testing.assert_close(tester.generation_loss(noise)[0], -made.scores.mean() + 0.3 * contrasts[1])


def test_scores_know_no_classes_and_embeddings_are_not_told_them():
    tester = _tester().eval()
    images = real_batch().clean
    one, other = (tester.discriminator(images, torch.full((4,), label)) for label in (0, 1))
    assert torch.equal(one.scores, other.scores) and torch.equal(one.embeddings, other.embeddings)
    assert not torch.equal(one.proxies, other.proxies)


def test_hyperparameters_have_the_values_given_and_derivatives_of_the_closed_form():
    given = {'weight': 0.4, 'temperature': 3.0}
    tester = _tester(**given)
    assert tester.values() == pytest.approx(given, rel=1e-6)
    assert _tester(weight=300.0, temperature=1e-4).values() == pytest.approx(
        {'weight': 300.0, 'temperature': 1e-4}, rel=1e-4)
    noise = tester.noise(6)
    loss, _ = tester.generation_loss(noise)
    by_weight, by_temperature = torch.autograd.grad(loss, list(tester.hyperparameters().values()))
    judgement = tester.eval().discriminator(tester.train().generate(noise), noise.labels)
    # The loss is linear in the weight, and d softplus(b) / db = sigmoid(b).
    torch.testing.assert_close(by_weight, judgement.contrast(torch.tensor(3.0)) * tester.b1.sigmoid())
    assert by_temperature != 0


def test_a_batch_without_a_repeated_class_and_one_of_a_single_image():
    tester = _tester()
    tester.optimizers(1)
    for labels in ([0, 1, 2], [1]):
        batch = real_batch(len(labels))._replace(labels=torch.tensor(labels))
        assert all(loss.isfinite() for loss in tester.adversary_step(batch, update_generator=False).values())
        loss, _ = tester.generation_loss(Noise(torch.randn(len(labels), 6), torch.tensor(labels)))
        assert all(gradient.isfinite() for gradient in torch.autograd.grad(loss, [tester.b1, tester.b2]))


def test_recipe_is_studio_gans():
    assert ContraGAN.recipe.betas == (0.5, 0.999) and ContraGAN.recipe.discriminator_steps == 5
    discriminator, = (named for named in _tester().optimizers(1) if named.name == 'discriminator')
    assert discriminator.optimizer.defaults['betas'] == (0.5, 0.999)


@pytest.mark.parametrize('options', [
    {'embedding_size': 0}, {'weight': 0.0}, {'weight': float('inf')}, {'temperature': 0.0}, {'temperature': -1.0},
    {'learns': 'architecture'}, {'width': 0},
])
def test_values_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        _tester(**options)
