"""Every constructor option changes what it claims, and nothing else."""

from __future__ import annotations

import pytest
import torch
from small import changed, epoch, parts, real_batch, small_tester, snapshot

from nni_wcnas.tester import pretrain


def _after_a_step(steps: int = 1, **options):
    """A tester after some steps; same networks and same noise whatever the options that leave the structure."""
    tester = small_tester(**options)
    tester.optimizers(1)
    torch.manual_seed(1)
    for _ in range(steps):
        tester.adversary_step(real_batch(), update_generator=True)
    return tester


@pytest.mark.parametrize(('options', 'steps', 'expected'), [
    ({'momentum': 0.3}, 1, {'b1', 'dictionary', 'discriminator', 'generator', 'average'}),
    ({'weight': 3.0}, 1, {'b2', 'dictionary', 'discriminator', 'generator', 'average'}),
    ({'feed_quantized': True}, 1, {'dictionary', 'discriminator', 'generator', 'average'}),
    ({'generator_lr': 0.01}, 1, {'generator', 'average'}),
    ({'generator_weight_decay': 0.1}, 1, {'generator', 'average'}),
    ({'generator_momentum': 0.0}, 1, set()),
    ({'generator_momentum': 0.0}, 2, {'generator', 'average'}),
    ({'discriminator_lr': 1e-3}, 1, {'dictionary', 'discriminator', 'generator', 'average'}),
    ({'ema_decay': 0.5}, 3, set()),
    ({'ema_decay': 0.5, 'ema_start': 1}, 1, set()),
    ({'ema_decay': 0.5, 'ema_start': 1}, 3, set()),  # In a search the average is a copy: see below for pre-training.
    ({'min_lr': 0.0002}, 1, set()),
])
def test_training_options_act_where_they_should(options, steps, expected):
    baseline = _after_a_step(steps)
    names = changed(_after_a_step(steps, **options), snapshot(baseline))
    if options.keys() & {'generator_lr', 'generator_weight_decay', 'generator_momentum'}:
        # From a second step on, the discriminator sees the images that the other generator made.
        expected = expected | (parts(names) & {'discriminator', 'dictionary'} if steps > 1 else set())
    assert parts(names) == expected


@pytest.mark.parametrize(('options', 'expected'), [
    ({}, set()),
    ({'ema_decay': 0.5}, {'average'}),
    ({'ema_start': 2}, {'average'}),
    ({'ema_decay': 0.5, 'ema_start': 9}, {'average'}),
])
def test_ema_options_act_in_pre_training_alone(options, expected):
    def pretrained(**options):
        tester = small_tester(**{'ema_start': 1, **options})
        torch.manual_seed(1)
        pretrain(tester, None, epoch, 4, discriminator_steps=1, progress=False)
        return tester

    baseline = pretrained()
    assert changed(baseline.average.module, snapshot(baseline.generator))
    assert parts(changed(pretrained(**options), snapshot(baseline))) == expected


def test_the_average_follows_a_search_as_a_copy():
    tester = _after_a_step(3, ema_start=0)
    assert not changed(tester.average.module, snapshot(tester.generator))


def test_momentum_acts_on_the_dictionary_alone_when_only_it_is_committed():
    testers = [small_tester(momentum=momentum) for momentum in (0.3, 0.8)]
    for tester in testers:
        torch.manual_seed(1)
        _, statistics = tester.generation_loss(tester.noise(4))
        tester.discriminator.trunk.commit(statistics, tester.values()['momentum'])
    assert parts(changed(testers[0], snapshot(testers[1]))) == {'b1', 'dictionary'}


def test_feed_quantized_changes_the_scores_but_not_the_first_quantisation_loss():
    plain, fed = small_tester(), small_tester(feed_quantized=True)
    assert not changed(plain, snapshot(fed))
    torch.manual_seed(1)
    noise = plain.noise(4)
    images, momentum = plain.generate(noise), torch.tensor(0.8)
    one, other = (tester.discriminator(images, noise.labels, momentum) for tester in (plain.eval(), fed.eval()))
    assert not torch.equal(one.scores, other.scores)
    assert torch.equal(one.statistics[0].indices, other.statistics[0].indices)
    assert not torch.equal(one.quantisation, other.quantisation)


def test_structure_options_change_the_shapes_they_claim():
    def shapes(**options):
        return {name: tuple(value.shape) for name, value in small_tester(**options).state_dict().items()}

    def differing(**options):
        plain, other = shapes(), shapes(**options)
        return {name for name in plain.keys() | other.keys() if plain.get(name) != other.get(name)}

    assert differing(latent=9) == {'generator.linear.weight', 'average.module.linear.weight'}
    assert all('.quantisers.' in name for name in differing(dictionary_size=9))
    wide = shapes(width=8)
    assert wide['generator.blocks.0.conv1.weight'] == (8, 8, 3, 3)
    assert wide['discriminator.trunk.quantisers.0.codes'] == (5, 8)
    assert parts(differing(width=8)) == {'generator', 'average', 'discriminator', 'dictionary'}
    assert differing(ema_decay=0.5, weight=2.0, momentum=0.3, discriminator_lr=1.0, feed_quantized=True) == set()


def test_min_lr_is_where_the_rate_ends():
    for min_lr in (1e-4, 5e-4):
        tester = small_tester(min_lr=min_lr)
        generator, _ = tester.optimizers(1)
        generator.optimizer.step()
        generator.scheduler.step()
        assert tester.generator_step().lr == pytest.approx(min_lr)
