"""Perturbations: the attack in closed form, its numbers, a search without B, and what settings files may say of it."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest
import torch
import yaml
from pytorch_lightning.callbacks import Callback
from worst_case_search import make_plain_parts, run

import nni_wcnas as wc
from nni_wcnas import Perturbation
from nni_wcnas.cli.images import measure_tester
from nni_wcnas.cli.pretrain import pretrain_tester
from nni_wcnas.cli.search import open_run, search
from nni_wcnas.contracts import Batch
from nni_wcnas.relaxation import Dirichlet
from nni_wcnas.settings import assembly
from nni_wcnas.settings.problems import CommandError, SettingsError
from nni_wcnas.settings.resolved import differing_key, resolved
from nni_wcnas.settings.settings import load_settings
from nni_wcnas.settings.trial import Trial


def real(count=6, size=4) -> Batch:
    random = torch.Generator().manual_seed(0)
    clean = torch.rand(count, 3, size, size, generator=random) * 2 - 1
    return Batch(clean, torch.arange(count) % 3, None, clean)


def logits(weights):
    """Of a linear learner of three classes."""
    return lambda images: images.flatten(1) @ weights


def attack(tester, batch, weights, seed=0):
    torch.manual_seed(seed)
    noise = tester.noise(len(batch.labels), batch)
    images = tester.generate(noise)
    return images, tester.attack(images, noise, logits(weights)), noise


def test_fgsm_of_two_linear_classes_in_closed_form():
    """The sign of the gradient is that of the other class's weights less the true one's."""
    torch.manual_seed(0)  # Weights of both classes that differ by a rounding error have no sign to speak of.
    batch, weights = real()._replace(labels=torch.tensor([0, 1, 0, 1, 1, 0])), torch.randn(48, 2)
    images, moved, noise = attack(Perturbation(2, image_size=4, epsilon=0.1), batch, weights)
    away = (weights[:, 1] - weights[:, 0]).sign() * torch.where(noise.labels == 0, 1.0, -1.0)[:, None]
    torch.testing.assert_close(moved, (images + 0.2 * away.view_as(images)).clamp(-1, 1))


@pytest.mark.parametrize('random_start', [False, True])
@pytest.mark.parametrize('steps', [1, 2, 7])
def test_images_stay_valid_and_in_the_ball_and_are_harder(steps, random_start):
    weights, batch = torch.randn(48, 3), real(30)
    tester = Perturbation(3, image_size=4, epsilon=0.07, steps=steps, random_start=random_start)
    images, moved, noise = attack(tester, batch, weights)
    assert moved.min() >= -1 and moved.max() <= 1 and not moved.requires_grad
    assert (moved - images).abs().max() <= 2 * 0.07 + 1e-6
    before, after = (torch.nn.functional.cross_entropy(logits(weights)(x), noise.labels) for x in (images, moved))
    assert after > before + 0.5


def test_each_number_acts():
    weights, batch = torch.randn(48, 3), real(30)
    found = {
        name: attack(Perturbation(3, image_size=4, **options), batch, weights)[1]
        for name, options in {
            'default': {}, 'same': {'epsilon': 8 / 255}, 'epsilon': {'epsilon': 0.1}, 'steps': {'steps': 5},
            'start': {'random_start': True},
        }.items()
    }  # fmt: skip
    assert torch.equal(found['default'], found['same'])
    assert all(not torch.equal(found['default'], found[name]) for name in ('epsilon', 'steps', 'start'))


def test_noise_is_all_that_is_random():
    """The start of an attack is in it: the same noise gives the same images, whatever is drawn in between."""
    tester, weights = Perturbation(3, image_size=4, random_start=True), torch.randn(48, 3)
    images, moved, noise = attack(tester, real(), weights)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(tester.attack(images, noise, logits(weights)), moved)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(tester.attack(images, tester.noise(6, real()), logits(weights)), moved)


def test_has_nothing_to_learn():
    tester = Perturbation(3)
    assert tester.hyperparameters() == tester.generator_parameters() == tester.values() == {}
    assert not tester.has_hyperparameters and not list(tester.parameters()) and tester.optimizers(3) == []


def test_other_testers_attack_nothing():
    policy = wc.AugmentationPolicy(3, image_size=4)
    noise = policy.noise(6, real())
    images = policy.generate(noise)
    assert policy.attack(images, noise, lambda x: pytest.fail('needs no learner')) is images


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'num_classes': 0}, 'num_classes must be at least 1'),
        ({'num_classes': 3, 'image_size': 2}, 'image_size must be at least 3 pixels, or 0 for any, not 2'),
        ({'num_classes': 3, 'epsilon': 0.0}, 'epsilon must be above 0 and finite, not 0.0'),
        ({'num_classes': 3, 'epsilon': math.nan}, 'epsilon must be above 0 and finite, not nan'),
        ({'num_classes': 3, 'steps': 0}, 'steps must be at least 1, not 0'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Perturbation(**arguments)


def test_images_that_are_missing_or_of_another_size():
    with pytest.raises(ValueError, match='Perturbation changes real images, and there are none: give it a batch'):
        Perturbation(3, image_size=4).noise(4)
    with pytest.raises(ValueError, match=r'images of 8 pixels, and these have 4; use Perturbation\(image_size=4\)'):
        Perturbation(3, image_size=8).noise(4, real())


# ------------------------------------------------------------------------------------------------------------ a search


def _searched(*, epochs=1, preset=None, **options):
    strategy = preset or wc.presets.wcnas(every=1)
    evaluator = {name: options.pop(name) for name in ('callbacks', 'checkpoint_directory', 'resume') if name in options}
    tester = Perturbation(10, image_size=16, **options)
    return run(strategy, make=make_plain_parts, tester=tester, epochs=epochs, **evaluator)


def _architecture(strategy):
    return torch.cat([p.detach().flatten() for p in strategy.oneshot_module.architecture().values()])


def test_a_search_has_a_and_w_and_nothing_else_and_each_number_reaches_it():
    strategy = _searched()
    module = strategy.oneshot_module
    optimised = [{id(p) for g in o.param_groups for p in g['params']} for o in module.trainer.optimizers]
    assert optimised == [{id(p) for p in group.values()} for group in (module.weights(), module.architecture())]
    assert module.training_module.auxiliary is None
    metrics = module.trainer.callback_metrics
    assert {'loss_A', 'loss_W', 'loss_generated', 'loss_real'} <= metrics.keys()
    assert not {'loss_B', 'loss_V', 'loss_meaning'} & metrics.keys()
    moved = _architecture(strategy)
    assert torch.equal(_architecture(_searched()), moved)
    for options in ({'epsilon': 0.1}, {'steps': 4}, {'random_start': True}):
        other = _searched(**options)
        assert not torch.equal(_architecture(other), moved)
    harder = _searched(epsilon=0.2, steps=4).oneshot_module.trainer.callback_metrics['loss_generated']
    assert harder > metrics['loss_generated']


@pytest.mark.parametrize('overrides', [{'relaxation': Dirichlet()}, {'hypergradient': wc.FirstOrder()}], ids=repr)
def test_composes(overrides):
    assert _architecture(_searched(preset=wc.presets.wcnas(every=2, **overrides))).isfinite().all()


class Killed(Callback):
    """In the middle of the second epoch."""

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == 0:
            raise RuntimeError('killed')


def test_a_resumed_search_is_bit_for_bit_the_same(tmp_path):
    whole = _searched(epochs=2, random_start=True, checkpoint_directory=tmp_path / 'whole').oneshot_module.state_dict()
    with pytest.raises(RuntimeError, match='killed'):
        _searched(epochs=2, random_start=True, checkpoint_directory=tmp_path / 'cut', callbacks=[Killed()])
    again = _searched(
        epochs=2, random_start=True, checkpoint_directory=tmp_path / 'cut', resume=tmp_path / 'cut' / 'last.ckpt'
    )
    resumed = again.oneshot_module.state_dict()
    assert whole.keys() == resumed.keys()
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_what_would_do_nothing_is_refused_or_said(caplog):
    tester = Perturbation(10, image_size=16)
    with pytest.raises(ValueError, match='An auxiliary model does nothing beside Perturbation, .* leave auxiliary out'):
        wc.SearchEvaluator(wc.data.Digits(limit=60), tester=tester, auxiliary='resnet18', accelerator='cpu')
    with pytest.raises(ValueError, match='SelectedExamples needs a tester with a generator, .* Perturbation, which'):
        _searched(preset=wc.Search(objective=wc.SelectedExamples(pairs=64)))
    with caplog.at_level(logging.WARNING, 'nni_wcnas.search'):
        _searched()
        assert not caplog.records
        _searched(preset=wc.presets.wcnas(every=1, trade_off=2.0, hyperparameter_lr=0.1))
    assert [record.getMessage() for record in caplog.records] == [
        f'Perturbation has no hyper-parameters B to learn, so {number} of WorstCase, which is about B, does nothing'
        for number in ('trade_off=2.0', 'hyperparameter_lr=0.1')
    ]


# ------------------------------------------------------------------------------------------------------ settings files

TINY = """\
data: {name: digits, limit: 80, batch_size: 40}
space: {name: darts, width: 8, num_cells: 3, num_nodes: 2, operations: [max_pool_3x3, skip_connect, sep_conv_3x3]}
method: {preset: wcnas, every: 1}
search: {epochs: 1}
tester: perturbation
directory: runs
"""


def settings(folder: Path, *changes: tuple[str, str]):
    """Read the tiny settings with something else in the place of something."""
    text = TINY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / 's.yml').write_text(text)
    return load_settings(folder / 's.yml')


def test_a_search_from_a_settings_file_with_nothing_else(tmp_path):
    found = settings(tmp_path)
    everything = resolved(found)
    assert everything['tester'] == {'name': 'perturbation', 'epsilon': 8 / 255, 'steps': 1, 'random_start': False}
    assert not {'auxiliary', 'pretraining'} & everything.keys()
    trial = Trial(found)
    run = open_run(tmp_path / 'run', trial, resume=False)
    search(trial, run)
    last = run.read_history()[-1]
    assert len(run.read_history()) == 1 and last['loss_generated'] > last['loss_real']
    assert not {'loss_B', 'loss_V', 'reference_error'} & last.keys() and not run.policy.exists()
    again = load_settings(run.settings)
    assert differing_key(everything, resolved(again)) is None
    open_run(tmp_path / 'run', Trial(again), resume=True)
    with pytest.raises(CommandError, match='moves images against the network of the search, and makes none without it'):
        measure_tester(tmp_path / 'run', cpu=True)
    with pytest.raises(CommandError, match='Perturbation has nothing to pre-train; leave this step out'):
        pretrain_tester(found, tmp_path / 'v.pt', 3)


@pytest.mark.parametrize(
    'method',
    [
        '{objective: worst_case, hypergradient: unrolled}',
        '{preset: wcnas, base: pc_darts, dataset: cifar10}',
        '{preset: wcnas, trade_off: 0.0}',
        '{preset: cr}',
    ],
)
def test_numbers_that_nobody_has_written_are_no_mistake(tmp_path, method):
    found = settings(tmp_path, ('{preset: wcnas, every: 1}', method))
    (tmp_path / 'again.yml').write_text(yaml.safe_dump(resolved(found)))
    assert differing_key(resolved(found), resolved(load_settings(tmp_path / 'again.yml'))) is None


def test_arguments_reach_it(tmp_path):
    more = ('tester: perturbation', 'tester: {name: perturbation, epsilon: 0.1, steps: 3, random_start: true}')
    found = settings(tmp_path, more)
    tester = assembly.make_tester(found, assembly.make_data(found))
    assert (tester.epsilon, tester.steps, tester.random_start, tester.image_size) == (0.1, 3, True, 16)


IDLE = 'does nothing with perturbation, which has no hyper-parameters to learn; leave it out'


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('every: 1', 'trade_off: 1.0', f's.yml:3: method.trade_off: {IDLE}'),
        ('every: 1', 'hyperparameter_lr: 1e-3', f's.yml:3: method.hyperparameter_lr: {IDLE}'),
        ('preset: wcnas, every: 1', 'objective: {name: worst_case, trade_off: 0.5}',
         f's.yml:3: method.objective.trade_off: {IDLE}'),
        ('directory:', 'auxiliary: resnet18\ndirectory:', f's.yml:6: auxiliary: {IDLE}'),
        ('directory:', 'auxiliary: {lr: 0.1}\ndirectory:', f's.yml:6: auxiliary: {IDLE}'),
        ('perturbation', '{name: perturbation, pretrained: auto}', 's.yml:5: tester.pretrained: is not a known key'),
        ('perturbation', '{name: perturbation, steps: 0}', 's.yml:5: tester.steps: steps must be at least 1, not 0'),
        ('perturbation', '{name: perturbation, epsilon: -1.0}', 's.yml:5: tester.epsilon: epsilon must be above 0'),
        ('preset: wcnas, every: 1', 'preset: dasgm', 's.yml:5: tester: perturbation has no generator, which Synth'),
    ],
)
def test_mistakes(tmp_path, old, new, message):
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, (old, new))
    (line,) = str(caught.value).splitlines()
    assert line.replace(f'{tmp_path}/', '').startswith(message)
