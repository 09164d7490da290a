"""Pre-training makes digits that classifiers which never saw a generated image give the class asked for."""

from __future__ import annotations

import pytest
import torch

import nni_wcnas as wc
from nni_wcnas.data.reference import reference_models
from nni_wcnas.tester import pretrain


@pytest.mark.slow
@pytest.mark.parametrize(('make', 'steps', 'options'), [
    (lambda: wc.ContraGAN(10, image_size=16, width=16, latent=32, embedding_size=64), 500,
     {'lr': 1e-3, 'discriminator_steps': 2}),
    (lambda: wc.StyleGAN2ADA(10, image_size=16, width=16, latent=32), 300, {'lr': 5e-3}),
], ids=['contra_gan', 'style_gan2_ada'])
def test_digits_are_recognised_better_than_by_chance(make, steps, options):
    """Chance errs on 90 % of 500 images, give or take 1.3."""
    data = wc.data.Digits(batch_size=32)
    reference = reference_models(data, progress=False)
    torch.manual_seed(0)
    tester = make()

    def batches(epoch):
        data.set_epoch(epoch)
        return data.train_dataloader()

    pretrain(tester, None, batches, steps, progress=False, **options)
    noise = tester.noise(500)
    assert reference.error(tester.average(*noise), noise.labels) < 0.85
