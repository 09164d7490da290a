"""Top-k training and core-sets in pre-training."""

from __future__ import annotations

import pytest
import torch
from small import changed, epoch, real_batch, small_tester, snapshot

from nni_wcnas.functional.core_set import core_set, embedded
from nni_wcnas.tester import pretrain


def _pretrained(steps: int = 4, **options):
    tester = small_tester(ema_start=1)
    torch.manual_seed(1)
    pretrain(tester, None, epoch, steps, discriminator_steps=1, progress=False, **options)
    return tester


@pytest.mark.parametrize('options', [{'top_k': True}, {'core_set': 2}])
def test_each_reduction_changes_training(options):
    assert not changed(_pretrained(top_k=False, core_set=1), snapshot(_pretrained()))
    steps = 45 if 'top_k' in options else 1  # In the 15th epoch of three batches the first of four images is left out.
    assert changed(_pretrained(steps, **options), snapshot(_pretrained(steps)))


def test_k_falls_by_a_hundredth_an_epoch_to_half_of_the_batch(monkeypatch):
    kept = []
    tester = small_tester()
    monkeypatch.setattr(type(tester), 'train_generator',
                        lambda self, count, optimizer, *, noise, keep: kept.append((count, keep)) or {})
    monkeypatch.setattr(type(tester), 'train_discriminator', lambda *arguments: {})
    pretrain(tester, None, lambda number: [real_batch(100)], 80, discriminator_steps=1, top_k=True, progress=False)
    assert [k for _, k in kept] == [max(round(100 * 0.99 ** number), 50) for number in range(80)]


def test_the_generator_learns_from_its_best_images_alone():
    """The step's gradient is that of the loss of the images with the highest scores, with the whole batch's norms."""
    tester = small_tester(weight=1e-6)
    noise = tester.noise(8)
    images = tester.generate(noise)
    best = tester.realism(images, noise.labels).topk(3).indices
    loss, _ = tester.adversarial_loss(images[best], noise.labels[best], {}, None)
    expected = torch.autograd.grad(loss, list(tester.generator_parameters().values()))
    before = [value.detach().clone() for value in tester.generator_parameters().values()]
    tester.train_generator(8, torch.optim.SGD(tester.generator.parameters(), lr=1.0), noise=noise, keep=3)
    for old, new, gradient in zip(before, tester.generator_parameters().values(), expected, strict=True):
        torch.testing.assert_close(old - new, gradient, rtol=1e-3, atol=1e-6)


def test_batches_are_core_sets_of_several(monkeypatch):
    """Real images of both batches, latents of twice as many, each selected by its own distances."""
    seen = []
    tester = small_tester()
    monkeypatch.setattr(type(tester), 'train_discriminator',
                        lambda self, batch, optimizer, noise: seen.append((batch, noise)) or {})
    monkeypatch.setattr(type(tester), 'train_generator', lambda *arguments, **options: {})
    batches = [real_batch(4, seed=0), real_batch(4, seed=1)]
    torch.manual_seed(3)
    pretrain(tester, None, lambda number: batches, 1, discriminator_steps=1, core_set=2, progress=False)
    torch.manual_seed(3)
    noise = tester.noise(8)
    chosen = core_set(noise.latent, 4)
    (batch, found), = seen
    assert torch.equal(found.latent, noise.latent[chosen]) and torch.equal(found.labels, noise.labels[chosen])
    clean, labels = (torch.cat([getattr(own, name) for own in batches]) for name in ('clean', 'labels'))
    chosen = core_set(embedded(clean), 4)
    assert torch.equal(batch.clean, clean[chosen]) and torch.equal(batch.labels, labels[chosen])


def test_resumed_equals_uninterrupted_with_both(tmp_path):
    options = {'top_k': True, 'core_set': 2}
    whole = _pretrained(6, **options)
    path = tmp_path / 'run.pt'
    _pretrained(3, checkpoint=path, **options)
    resumed = small_tester(ema_start=1)
    torch.manual_seed(77)
    pretrain(resumed, None, epoch, 6, discriminator_steps=1, progress=False, checkpoint=path, resume=True, **options)
    assert not changed(resumed, snapshot(whole))
    with pytest.raises(ValueError, match='core_set=2, but core_set=1 was asked for'):
        pretrain(small_tester(ema_start=1), None, epoch, 6, discriminator_steps=1, progress=False, checkpoint=path,
                 resume=True, top_k=True)


def test_core_sets_of_nothing_are_refused():
    with pytest.raises(ValueError, match='core_set must be at least 1'):
        pretrain(small_tester(), None, epoch, 1, core_set=0, progress=False)
