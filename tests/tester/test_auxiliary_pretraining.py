"""Pre-training of an auxiliary model on real images, beside a policy and beside a GAN."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import changed, epoch, small_tester, snapshot

import nni_wcnas as wc
from nni_wcnas.tester import AugmentationPolicy, TimmAuxiliary, make_auxiliary, pretrain


@pytest.fixture(scope='module')
def digits():
    return wc.data.Digits(batch_size=50, limit=500)


def _error(model, data) -> float:
    real = data.examples('architecture', 25)
    with torch.no_grad():
        return (model.eval()(real.clean).argmax(1) != real.labels).double().mean().item()


def _batches(data):
    def batches(number):
        data.set_epoch(number)
        return data.train_dataloader()

    return batches


def test_a_policys_model_learns_real_images(digits, tmp_path):
    """On digits that it has not seen; the policy does not move, and its file gives the model to a search."""
    torch.manual_seed(0)
    policy = AugmentationPolicy(10, image_size=16)
    model = TimmAuxiliary('test_resnet', num_classes=10, image_size=16)
    before, start = snapshot(policy), _error(model, digits)
    path = tmp_path / 'v.pt'
    losses = pretrain(policy, model.train(), _batches(digits), auxiliary_epochs=25, checkpoint=path, progress=False)
    error = _error(model, digits)
    assert losses.keys() == {'auxiliary'} and start > 0.7 and error < 0.25
    assert not changed(policy, before)
    contents = torch.load(path, weights_only=True)
    assert contents['kind'] == 'AugmentationPolicy' and contents['training']['taught'] == 25 * 5
    assert contents['seconds']['generator'] == 0 < contents['seconds']['auxiliary']
    loaded = make_auxiliary('test_resnet', AugmentationPolicy(10, image_size=16, pretrained=path))
    assert not changed(loaded, snapshot(model))
    own = make_auxiliary({'name': 'test_resnet', 'pretrained': path}, wc.FQGAN(10, image_size=16, width=4))
    assert not changed(own, snapshot(model))


def test_a_tied_head_learns_real_images(digits):
    """On the features of a trunk that knows little yet."""
    torch.manual_seed(0)
    tester = wc.FQGAN(10, image_size=16, width=8, latent=8, dictionary_size=8)
    head = make_auxiliary('tied', tester)
    start = _error(head, digits)
    pretrain(tester, head.train(), _batches(digits), 30, discriminator_steps=2, lr=1e-3, auxiliary_steps=200,
             progress=False)
    assert start > 0.7 and _error(head, digits) < 0.6


def _policy_run(path: Path | None, steps: int, *, seed: int = 5, **options):
    torch.manual_seed(0)
    model = TimmAuxiliary('test_resnet', num_classes=3)
    torch.manual_seed(seed)
    pretrain(AugmentationPolicy(3, image_size=16), model, epoch, auxiliary_steps=steps, checkpoint=path, progress=False,
             **options)
    return model


def test_resumed_equals_uninterrupted(tmp_path):
    path = tmp_path / 'v.pt'
    whole = _policy_run(None, 5)
    _policy_run(path, 2)
    resumed = _policy_run(path, 5, resume=True, seed=77)
    assert not changed(resumed, snapshot(whole))


def test_refusals(tmp_path):
    path = tmp_path / 'v.pt'
    policy = AugmentationPolicy(3, image_size=16)
    _policy_run(path, 1)
    for options in ({'steps': 2}, {'epochs': 1}, {'lr': 1e-3}, {'discriminator_steps': 2}, {'top_k': True},
                    {'core_set': 2}):
        (name,) = options
        with pytest.raises(ValueError, match=f'{name} is of a generator, and AugmentationPolicy has none; leave it'):
            pretrain(policy, TimmAuxiliary('test_resnet', num_classes=3), epoch, progress=False, **options)
    with pytest.raises(ValueError, match='nothing to train'):
        pretrain(policy, None, epoch, progress=False)
    for options, message in (({'num_classes': 4}, 'num_classes=3'), ({'image_size': 32}, 'image_size=16')):
        with pytest.raises(ValueError, match=f'was made with {message}, but'):
            AugmentationPolicy(**{'num_classes': 3, 'image_size': 16, **options, 'pretrained': path})
    assert AugmentationPolicy(3, image_size=0, pretrained=path).pretrained == path
    small_tester().save(tmp_path / 'gan.pt')
    with pytest.raises(ValueError, match='gan.pt holds a tester of kind FQGAN, but AugmentationPolicy was asked for'):
        AugmentationPolicy(3, image_size=16, pretrained=tmp_path / 'gan.pt')
    with pytest.raises(ValueError, match='v.pt holds another auxiliary model than .test_vit.'):
        make_auxiliary('test_vit', AugmentationPolicy(3, image_size=16, pretrained=path))
    with pytest.raises(ValueError, match='v.pt holds a tester of kind AugmentationPolicy, but FQGAN was asked for'):
        small_tester(pretrained=path)


@pytest.mark.parametrize(('option', 'value'), [('lr', 0.1), ('momentum', 0.5), ('weight_decay', 0.1),
                                               ('gradient_clip_val', 0.01)])
def test_each_number_changes_the_model_and_nothing_else(option, value):
    models = []
    for numbers in ({}, {option: value}):
        torch.manual_seed(0)
        tester = small_tester()
        model = make_auxiliary({'name': 'test_resnet', **numbers}, tester)
        torch.manual_seed(1)
        pretrain(tester, model, epoch, 2, discriminator_steps=1, progress=False)
        models.append((tester, model))
    (tester, model), (other_tester, other) = models
    assert not changed(other_tester, snapshot(tester))
    assert changed(other, snapshot(model)) & set(model.learnable())


def test_a_file_for_images_of_any_size_says_so(tmp_path):
    path = tmp_path / 'any.pt'
    policy = AugmentationPolicy(3, image_size=0)
    model = TimmAuxiliary('test_resnet', num_classes=3)
    pretrain(policy, model, epoch, auxiliary_steps=1, checkpoint=path, progress=False)
    with pytest.raises(ValueError, match='but image_size=16 was asked for; pass image_size=0 or pre-train'):
        AugmentationPolicy(3, image_size=16, pretrained=path)
    # The advice can be followed.
    assert AugmentationPolicy(3, image_size=0, pretrained=path).pretrained == path
    pretrain(policy, model, epoch, auxiliary_steps=2, checkpoint=path, resume=True, progress=False)
