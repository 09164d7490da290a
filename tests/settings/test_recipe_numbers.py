"""Which numbers a settings file is filled in with, whose they are where the papers have none, and V's section."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from nni_wcnas.recipes import recipe
from nni_wcnas.settings import assembly
from nni_wcnas.settings.problems import SettingsError
from nni_wcnas.settings.recipe_numbers import remark
from nni_wcnas.settings.resolved import differing_key, resolved
from nni_wcnas.settings.settings import load_settings
from nni_wcnas.tester import TiedAuxiliary, TimmAuxiliary

TINY = """\
data: {name: digits, limit: 120, batch_size: 30}
space: {name: darts, width: 4, num_cells: 3}
method: {preset: wcnas, every: 2}
tester: {name: fq_gan, width: 8, dictionary_size: 32, latent: 16}
"""
V = {'lr': 0.025, 'min_lr': 0.001, 'momentum': 0.9, 'weight_decay': 3e-4}


def load(folder: Path, more: str = '', *overrides: str, text: str = TINY, **keywords: Any):
    """The tiny settings with some more lines."""
    path = folder / 's.yml'
    path.write_text(text + more)
    return load_settings(path, overrides, **keywords)


@pytest.mark.parametrize(('written', 'expected'), [
    ('', {'name': 'tied', **V}),
    ('auxiliary: test_resnet\n', {'name': 'test_resnet', **V}),
    ('auxiliary: {lr: 0.1}\n', {'name': 'tied', **V, 'lr': 0.1}),
    ('auxiliary: {name: test_resnet, momentum: 0.5, gradient_clip_val: 2.0}\n',
     {'name': 'test_resnet', **V, 'momentum': 0.5, 'gradient_clip_val': 2.0}),
])
def test_the_auxiliary_model_is_always_a_map_and_has_these_numbers(tmp_path: Path, written: str, expected: Any) -> None:
    settings = load(tmp_path, written)
    everything = resolved(settings)
    assert everything['auxiliary'] == expected
    (tmp_path / 'again.yml').write_text(yaml.safe_dump(everything))
    assert differing_key(everything, resolved(load_settings(tmp_path / 'again.yml'))) is None
    evaluator = assembly.make_evaluator(settings, assembly.make_data(settings), assembly.make_strategy(settings))
    model = evaluator.module.auxiliary
    assert isinstance(model, TiedAuxiliary if expected['name'] == 'tied' else TimmAuxiliary)
    (named,) = model.optimizers(3)
    (group,) = named.optimizer.param_groups
    found = {'name': expected['name'], 'lr': group['lr'], 'min_lr': named.scheduler.eta_min,
             'momentum': group['momentum'], 'weight_decay': group['weight_decay']}
    limit = {} if model._limit is None else {'gradient_clip_val': model._limit}
    assert {**found, **limit} == expected


def test_a_filled_in_minimum_is_not_above_the_written_rate(tmp_path: Path) -> None:
    settings = load(tmp_path, 'auxiliary: {lr: 0.0005}\nsearch: {lr: 0.0002}\n')
    assert (settings.auxiliary.lr, settings.auxiliary.min_lr) == (0.0005, 0.0005)
    assert (settings.search.lr, settings.search.min_lr) == (0.0002, 0.0002)
    settings = load(tmp_path, text=TINY.replace('width: 8, dict', 'width: 256, generator_lr: 0.0003, dict'))
    assert (settings.tester['generator_lr'], settings.tester['min_lr']) == (0.0003, 0.0003)


@pytest.mark.parametrize(('written', 'message'), [
    ('{rate: 0.1}', 's.yml:5: auxiliary.rate: is not a known key here; known are name, width, lr,'),
    ('{lr: fast}', "s.yml:5: auxiliary.lr: must be a number, not 'fast'; change it"),
    ('{lr: -1}', 's.yml:5: auxiliary.lr: must be more than 0.0, not -1; change it'),
    ('{gradient_clip_val: 0}', 's.yml:5: auxiliary.gradient_clip_val: must be more than 0'),
    ('{lr: 0.1, min_lr: 0.2}', 's.yml:5: auxiliary.min_lr: is above lr (0.1), so the rate would rise; lower it'),
    ('{name: resnet19}', "s.yml:5: auxiliary.name: 'resnet19' is neither tied nor small_resnet nor a classifier"),
    ('resnet19', "s.yml:5: auxiliary: 'resnet19' is neither tied nor small_resnet nor a classifier of timm; use tied"),
    ('5', 's.yml:5: auxiliary: must be a map of keys, not 5; change it'),
])
def test_mistakes_in_it(tmp_path: Path, written: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, f'auxiliary: {written}\n')
    (line,) = str(caught.value).replace(f'{tmp_path}/', '').splitlines()
    assert line.startswith(message)


def test_a_recipe_names_it_unless_the_file_does(tmp_path: Path) -> None:
    text = TINY.replace('preset: wcnas', 'preset: ncr')
    assert load(tmp_path, text=text).auxiliary.name == 'resnet18'
    assert load(tmp_path, 'auxiliary: {lr: 0.1}\n', text=text).auxiliary.name == 'resnet18'
    assert load(tmp_path, 'auxiliary: tied\n', text=text).auxiliary.name == 'tied'


@pytest.mark.parametrize(('base', 'known'), [
    ('pc_darts', ('cifar10', 'cifar100', 'imagenet')), ('p_darts', ('cifar10', 'cifar100')),
])
def test_data_without_numbers_of_their_own(tmp_path: Path, base: str, known: tuple[str, ...]) -> None:
    """DARTS's in the base's stages, and one sentence says so; others are taken where the file names them."""
    text = TINY.replace('preset: wcnas', f'preset: wcnas, base: {base}').replace(', batch_size: 30', '')
    settings = load(tmp_path, text=text, build=())
    other = recipe(base, 'other')
    assert settings.method['dataset'] == 'other'
    assert (settings.search.epochs, settings.search.warmup) == (other.epochs, other.warmup)
    assert (settings.search.lr, settings.auxiliary.lr, settings.data['batch_size']) == (0.025, 0.025, 64)
    told = remark(settings)
    assert told is not None and told.startswith('digits: the papers have no numbers for these data') and base in told
    assert told.endswith('; for others set ' + ', '.join(f'`method.dataset: {name}`' for name in known))
    assert '\n' not in told
    own = load(tmp_path, '', 'method.dataset=cifar10', text=text, build=())
    assert own.search.lr == recipe(base).lr and remark(own) is None


@pytest.mark.parametrize('name', ['fashion_mnist', 'svhn', 'stl10', 'image_folder'])
def test_no_other_data_get_the_numbers_of_cifar(tmp_path: Path, name: str) -> None:
    text = TINY.replace('name: digits, limit: 120', f'name: {name}, root: nowhere')
    text = text.replace('preset: wcnas', 'preset: wcnas, base: pc_darts')
    assert load(tmp_path, text=text, build=()).method['dataset'] == 'other'
    settings = load(tmp_path, '', 'method.dataset=imagenet', text=text, build=())
    assert settings.search.lr == 0.5 and settings.method['dataset'] == 'imagenet'
    text = text.replace(name, 'cifar100')
    assert load(tmp_path, text=text, build=()).method['dataset'] == 'cifar100'


def test_an_unknown_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="method.dataset: dataset is 'cifar', and darts has numbers for cifar10, "):
        load(tmp_path, '', 'method.dataset=cifar')
