from __future__ import annotations

import copy
import pickle

import pytest
import torch
from small import changed, parts, real_batch, small_tester, snapshot

from nni_wcnas.contracts import Noise
from nni_wcnas.tester import FQGAN, TiedAuxiliary


def _step(tester: FQGAN, *, update_generator: bool = True) -> dict[str, float]:
    torch.manual_seed(1)
    tester.optimizers(4)
    return tester.adversary_step(real_batch(), update_generator=update_generator)


def test_noise_is_reproducible_and_in_range():
    tester = small_tester()
    torch.manual_seed(3)
    noise = tester.noise(50)
    torch.manual_seed(3)
    again = tester.noise(50)
    assert torch.equal(noise.latent, again.latent)
    assert torch.equal(noise.labels, again.labels)
    assert noise.latent.shape == (50, 6)
    assert noise.labels.dtype == torch.int64
    assert set(noise.labels.tolist()) == {0, 1, 2}


@pytest.mark.parametrize(('image_size', 'num_down', 'num_up'), [(16, 3, 2), (32, 4, 3), (64, 5, 4)])
def test_resolutions(image_size, num_down, num_up):
    tester = small_tester(image_size=image_size)
    assert len(tester.generator.blocks) == num_up
    assert len(tester.discriminator.trunk.blocks) == len(tester.discriminator.trunk.quantisers) == num_down
    noise = tester.noise(2)
    assert tester.generate(noise).shape == (2, 3, image_size, image_size)
    assert tester.generation_loss(noise)[0].isfinite()


def test_images_depend_on_latent_and_label():
    tester = small_tester()
    _step(tester)
    tester.eval()
    latent = tester.noise(2).latent
    one, other = (tester.generate(Noise(latent, torch.tensor(labels))) for labels in ([0, 1], [0, 2]))
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])
    assert not torch.equal(one[0], one[1])


def test_discriminator_step_changes_the_discriminator_only():
    tester = small_tester()
    before = snapshot(tester)
    _step(tester, update_generator=False)
    names = changed(tester, before)
    assert parts(names) == {'discriminator', 'dictionary'}
    assert set(tester.discriminator_parameters()) <= {name.removeprefix('discriminator.') for name in names}
    others = [*tester.hyperparameters().values(), *tester.generator_parameters().values()]
    assert all(value.grad is None for value in others)


def test_generator_step_changes_generator_average_and_dictionary_only():
    tester = small_tester()
    tester.optimizers(4)
    before = snapshot(tester)
    losses = tester.train_generator(4, tester._generator_optimizer)
    assert set(losses) == {'generator'}
    assert parts(changed(tester, before)) == {'generator', 'average', 'dictionary'}
    others = [*tester.hyperparameters().values(), *tester.discriminator_parameters().values()]
    assert all(value.grad is None for value in others)


def test_generator_step_descends_its_loss():
    tester = small_tester(generator_lr=1e-3, generator_momentum=0.0)
    noise = tester.noise(8)
    before, statistics = tester.generation_loss(noise)
    gradient = torch.autograd.grad(before, list(tester.generator_parameters().values()))
    live = tester.generator_parameters()
    ahead = {name: live[name] - 1e-3 * own for name, own in zip(live, gradient, strict=True)}
    assert tester.generation_loss(noise, ahead, None, statistics)[0] < before


def test_parameter_sets_are_disjoint_and_exhaustive():
    tester = small_tester()
    auxiliary = TiedAuxiliary(tester, 7)
    both = torch.nn.ModuleDict({'tester': tester, 'auxiliary': auxiliary})
    groups = [tester.generator_parameters(), tester.discriminator_parameters(), tester.hyperparameters(),
              auxiliary.learnable()]
    identities = [id(value) for group in groups for value in group.values()]
    assert len(identities) == len(set(identities))
    assert set(identities) == {id(parameter) for parameter in both.parameters() if parameter.requires_grad}
    optimizers = [named.optimizer for named in tester.optimizers(1)]
    optimised = {id(value) for own in optimizers for group in own.param_groups for value in group['params']}
    assert optimised == {id(value) for group in groups[:2] for value in group.values()}


def test_optimisers_anneal_and_tell_the_next_step():
    tester = small_tester(generator_lr=0.02, min_lr=0.002, generator_momentum=0.8, generator_weight_decay=1e-4,
                          discriminator_lr=3e-4)
    with pytest.raises(RuntimeError, match='call optimizers'):
        tester.generator_step()
    with pytest.raises(RuntimeError, match='call optimizers'):
        tester.adversary_step(real_batch(), update_generator=True)
    generator, discriminator = tester.optimizers(2)
    assert (generator.name, discriminator.name, discriminator.scheduler) == ('generator', 'discriminator', None)
    step = tester.generator_step()
    assert (step.lr, step.momentum, step.weight_decay, step.buffers) == (0.02, 0.8, 1e-4, {})
    assert discriminator.optimizer.defaults['lr'] == 3e-4
    assert discriminator.optimizer.defaults['betas'] == (0.0, 0.999)
    tester.adversary_step(real_batch(), update_generator=True)
    buffers = tester.generator_step().buffers
    live = tester.generator_parameters()
    assert {name: value.shape for name, value in buffers.items()} == {name: value.shape for name, value in live.items()}
    rates = []
    for _ in range(2):
        generator.scheduler.step()
        rates.append(tester.generator_step().lr)
    assert rates == pytest.approx([0.011, 0.002])


def test_average_is_a_copy_until_ema_start_and_then_lags():
    tester = small_tester(ema_decay=0.75, ema_start=2)
    tester.optimizers(1)
    weight, averaged = tester.generator.linear.weight, tester.average.module.linear.weight
    for count in range(4):
        old = averaged.clone()
        tester.train_generator(4, tester._generator_optimizer)
        expected = weight if count < 2 else 0.75 * old + 0.25 * weight
        torch.testing.assert_close(averaged, expected)
        assert tester.average.n_averaged == count + 1
    running, average = tester.generator.norm.running_mean, tester.average.module.norm.running_mean
    assert not torch.equal(running, average)


def test_average_stays_in_evaluation_mode():
    tester = small_tester().train()
    assert not any(module.training for module in tester.average.modules())
    images = tester.average(*tester.noise(2))
    assert not images.requires_grad
    assert images.shape == (2, 3, 16, 16)


def test_hyperparameters_have_the_values_given():
    given = {'momentum': 0.9, 'weight': 10.0}
    assert small_tester(**given).values() == pytest.approx(given, rel=1e-6)
    assert small_tester(weight=1e-4).values()['weight'] == pytest.approx(1e-4, rel=1e-4)
    assert small_tester(weight=300.0).values()['weight'] == pytest.approx(300.0)


def test_copies_and_pickles_share_nothing():
    tester = small_tester()
    noise = tester.noise(2)
    tester.double().eval()
    noise = noise._replace(latent=noise.latent.double())
    head = TiedAuxiliary(tester, 7)
    assert copy.deepcopy([tester, head])[1]._shared[0] is not tester
    copied, copied_head = pickle.loads(pickle.dumps([tester, head]))
    assert copied_head._shared[0] is copied
    for other in (copy.deepcopy(tester), copied):
        assert not other.training
        assert not changed(other, snapshot(tester))
        assert torch.equal(other.generate(noise), tester.generate(noise))
        before = snapshot(tester)
        _step(other.float())
        assert not changed(tester, before)


@pytest.mark.parametrize(('batch', 'message'), [
    (real_batch()._replace(clean=None), 'has none'),
    (real_batch()._replace(clean=torch.zeros(4, 3, 32, 32)), 'image_size'),
])
def test_unfit_real_images_are_refused(batch, message):
    tester = small_tester()
    tester.optimizers(1)
    with pytest.raises(ValueError, match=message):
        tester.adversary_step(batch, update_generator=False)


@pytest.mark.parametrize('options', [
    {'image_size': 28}, {'width': 0}, {'latent': 0}, {'dictionary_size': 0}, {'momentum': 0.0}, {'momentum': 1.0},
    {'weight': 0.0}, {'weight': float('inf')}, {'ema_decay': 1.5}, {'ema_start': -1}, {'generator_lr': 1e-5},
    {'generator_lr': 0.0, 'min_lr': 0.0},
    {'generator_momentum': 1.0}, {'generator_weight_decay': -1.0}, {'discriminator_lr': 0.0},
])
def test_values_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options)).removeprefix('generator_').split('_')[0]):
        small_tester(**options)
