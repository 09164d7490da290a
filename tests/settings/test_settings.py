"""Every mistake in a settings file has its own line: file, line number, key, what and what to do."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
import yaml

from nni_wcnas import Search
from nni_wcnas.options import AXES
from nni_wcnas.presets import BASES
from nni_wcnas.retrain.recipe import RETRAINING_RECIPES, RetrainingRecipe
from nni_wcnas.settings import assembly
from nni_wcnas.settings.building import SECTIONS
from nni_wcnas.settings.problems import CommandError, SettingsError
from nni_wcnas.settings.resolved import differing_key, resolved
from nni_wcnas.settings.schema import RetrainNumbers
from nni_wcnas.settings.settings import load_settings
from nni_wcnas.transform import PartialChannels

ROOT = Path(__file__).parents[2]

TINY = """\
data: {name: digits, limit: 120, batch_size: 30}
space: {name: darts, width: 4, num_cells: 3}
method: {preset: wcnas, every: 2}
search: {epochs: 2}
tester: {name: fq_gan, width: 8, dictionary_size: 32, latent: 16}
"""


def complaints(path: Path, text: str, *overrides: str, **parameters: object) -> list[str]:
    """The lines that a file is refused with, without its folder."""
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, overrides, parameters or None)
    return [line.replace(f'{path.parent}/', '') for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(
    ('old', 'new', 'expected'),
    [
        ('limit: 120', 'limmit: 120', 's.yml:1: data.limmit: is not a known key here; did you mean limit?'),
        ('limit: 120', 'limit: many', "s.yml:1: data.limit: must be a whole number, not 'many'; change it"),
        ('limit: 120', 'limit: 3', 's.yml:1: data.limit: limit=3 is too small'),
        ('batch_size: 30', 'batch_size: 1', 's.yml:1: data.batch_size: batch_size=1 is too small'),
        ('name: digits', 'name: digit', "s.yml:1: data.name: 'digit' is not a known data; did you mean digits?"),
        ('name: digits', 'nam: digits', 's.yml:1: data: has no name; add it, e.g. `name: digits`'),
        ('name: digits', 'name: cifar10', 's.yml:1: data.root: is missing; add it'),
        ('name: digits', 'name: cifar10, root: nowhere', 's.yml:1: data.root: The folder nowhere does not exist'),
        (
            'name: digits, limit: 120',
            'name: cifar10, root: nowhere',
            's.yml:1: data.root: The folder nowhere does not exist; pass the folder that holds cifar-10-batches-py, '
            'or download=True (in settings `download: true`) to fetch CIFAR-10 into it',
        ),
        (
            'preset: wcnas',
            'preset: wcnas, channels_last: false, fast_cell: true',
            's.yml:3: method.fast_cell: fast_cell=True needs channels_last=True',
        ),
        ('width: 4, num', 'width: 3, num', 's.yml:2: space.width: width must be an even number'),
        ('num_cells: 3', 'num_cells: 2', 's.yml:2: space.num_cells: num_cells must be at least 3'),
        ('num_cells: 3', 'num_classes: 7', 's.yml:2: space.num_classes: num_classes=7 does not fit digits'),
        (
            'num_cells: 3',
            'operations: [none, zoom]',
            "s.yml:2: space.operations: operations must hold only none",
        ),
        ('space: {name: darts, width: 4, num_cells: 3}', 'space: nowhere.yml', 'nowhere.yml: cannot be read'),
        (
            'preset: wcnas',
            'preset: wcnass',
            "s.yml:3: method.preset: 'wcnass' is not a known preset; did you mean wcnas?",
        ),
        (
            'preset: wcnas',
            'preset: wcnas, base: dart',
            f"s.yml:3: method.base: base must be one of {', '.join(BASES)}, not 'dart'",
        ),
        ('preset: wcnas', 'preset: darts', 's.yml:3: method.every: is not a known key here'),
        ('every: 2', 'every: 0', 's.yml:3: method.every: every must be at least 1 batch, not 0'),
        ('every: 2', 'trade_off: -1', 's.yml:3: method.trade_off: trade_off must be 0 or more and finite, not -1'),
        (
            'every: 2',
            'hypergradient: {name: unrolled, by: guess}',
            "s.yml:3: method.hypergradient.by: 'guess' is not one of",
        ),
        (
            'every: 2',
            'hypergradient: first_order, reuse_gradient: true',
            's.yml:3: method.hypergradient: WorstCase wants to reuse',
        ),
        ('every: 2', 'relaxation: softmaxx', "s.yml:3: method.relaxation.name: 'softmaxx' is not a known relaxation"),
        ('epochs: 2', 'epochs: 2, warmup: 2', 's.yml:4: search.warmup: leaves none of the 2 epochs to search in'),
        ('epochs: 2', 'epochs: 0', 's.yml:4: search.epochs: must be at least 1, not 0; change it'),
        ('epochs: 2', 'epochs: two', "s.yml:4: search.epochs: must be a whole number, not 'two'; change it"),
        ('epochs: 2', 'min_lr: 0.1', 's.yml:4: search.min_lr: is above lr (0.025)'),
        (
            'search: {epochs: 2}',
            'retrain: {lr: 0.1, min_lr: 0.2}',
            's.yml:4: retrain.min_lr: is above lr (0.1), so the rate would rise; lower it',
        ),
        ('name: fq_gan', 'name: gan', "s.yml:5: tester.name: 'gan' is not a known tester"),
        (
            'name: fq_gan',
            'name: fq_gan, image_size: 32',
            's.yml:5: tester.image_size: image_size=32 does not fit digits, which has 16',
        ),
        (
            'name: fq_gan',
            'name: fq_gan, num_classes: 3',
            's.yml:5: tester.num_classes: num_classes=3 does not fit digits, which has 10',
        ),
        (
            'name: fq_gan',
            'name: fq_gan, pretrained: no.pt',
            's.yml:5: tester.pretrained: no.pt does not exist; make it with `nni-wcnas pretrain`',
        ),
        (
            'name: fq_gan',
            'name: fq_gan, momentum: 2.0',
            's.yml:5: tester.momentum: momentum must lie strictly between 0 and 1',
        ),
        (
            'method: {preset: wcnas, every: 2}\nsearch: {epochs: 2}\n'
            'tester: {name: fq_gan, width: 8, dictionary_size: 32, latent: 16}',
            'method: dasgm\nsearch: {epochs: 2}',
            's.yml:3: method: SynthesizedValidation needs a tester; add `tester: fq_gan`',
        ),
        (
            'method: {preset: wcnas, every: 2}\nsearch: {epochs: 2}\n'
            'tester: {name: fq_gan, width: 8, dictionary_size: 32, latent: 16}',
            'method: dasgm\nsearch: {epochs: 2}\ntester: augmentation_policy',
            's.yml:5: tester: augmentation_policy has no generator, which SynthesizedValidation needs; use `tester: '
            'fq_gan`',
        ),
        (
            'search:',
            'auxiliary: resnet19\nsearch:',
            "s.yml:4: auxiliary: 'resnet19' is neither tied nor small_resnet nor a classifier of timm",
        ),
        (
            'search:',
            'auxiliary: vgg11\nsearch:',
            "s.yml:4: auxiliary: The timm model 'vgg11' cannot classify images of 16 pixels; use 'tied' or 'resnet18'",
        ),
        ('search:', 'difficulty: {path: no.npy}\nsearch:', 's.yml:4: difficulty.path: The file no.npy does not exist'),
        (
            'search:',
            'difficulty: {kind: voices}\nsearch:',
            "s.yml:4: difficulty.kind: 'voices' is not one of scores, votes",
        ),
        (
            'search:',
            'difficulty: {share: 1.0}\nsearch:',
            's.yml:4: difficulty.share: must be less than 1.0, not 1.0; change it',
        ),
        ('search:', 'difficulty: {models: 3}\nsearch:', 's.yml:4: difficulty.models: does nothing without difficulty.'),
        ('search:', 'difficulty: {kind: votes}\nsearch:', 's.yml:4: difficulty.kind: does nothing without difficulty.'),
        ('every: 2', 'every: 2, objective: average_case', 's.yml:3: method.every: every=2 does nothing when objective'),
        (
            'epochs: 2',
            'lr: .inf',
            's.yml:4: search.lr: must be a finite number, not inf; change it',
        ),
        ('search:', 'retrain: {lr: .inf}\nsearch:', 's.yml:4: retrain.lr: must be a finite number, not inf; change it'),
        ('search:', 'retrain: {lr: .nan}\nsearch:', 's.yml:4: retrain.lr: must be a finite number, not nan'),
        (
            'latent: 16',
            'latent: 16, generator_weight_decay: .nan',
            's.yml:5: tester.generator_weight_decay: must be a finite number, not nan; change it',
        ),
        ('search:', 'retrain: {cells: 2}\nsearch:', 's.yml:4: retrain.cells: must be at least 3, not 2; change it'),
        (
            'search:',
            'retrain: {recipe: pcdarts}\nsearch:',
            "s.yml:4: retrain.recipe: 'pcdarts' is not one of darts, p_darts, pc_darts, pr_darts, adversarial, "
            'imagenet, stl10; did you mean pc_darts?',
        ),
        (
            'search:',
            'retrain:\n  epochs: 5\n  recipe: imagenet\nsearch:',
            's.yml:5: retrain.epochs: must be more than the 5 last ones of the linear decay, not 5',
        ),
        (
            'search:',
            'retrain: {optimizer: adamv}\nsearch:',
            "s.yml:4: retrain.optimizer: is none of those of timm that can be used here; did you mean 'adam'?",
        ),
        (
            'search:',
            'retrain: {ema_decay: 1.0}\nsearch:',
            's.yml:4: retrain.ema_decay: must be less than 1.0, not 1.0; change it',
        ),
        ('search:', 'retrain: {seed: 1}\nsearch:', 's.yml:4: retrain.seed: is not a known key here; known are rec'),
        ('search:', 'sead: 1\nsearch:', 's.yml:4: sead: is not a known key here; did you mean seed?'),
        ('search:', 'seed: 1\nseed: 2\nsearch:', 's.yml:5: seed: is written twice; keep one of them'),
        ('search:', 'device: gpu\nsearch:', "s.yml:4: device: 'gpu' is not one of auto, cpu, cuda"),
        ('search:', 'search: [', 's.yml:5: is not YAML'),
    ],
)
def test_names_the_line_and_the_remedy(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """One mistake, one line."""
    lines = complaints(tmp_path / 's.yml', TINY.replace(old, new, 1))
    assert any(line.startswith(expected) for line in lines), lines
    assert len(lines) == 1 or 'nam:' in new, lines


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """Structure, names, values and combinations, in one go."""
    text = TINY.replace('limit: 120', 'limit: 3').replace('width: 4', 'widht: 4').replace('every: 2', 'every: 0')
    text = text.replace('epochs: 2', 'epochs: 2, warmup: 5') + 'seed: x\n'
    keys = {line.split(': ')[1] for line in complaints(tmp_path / 's.yml', text)}
    assert keys == {'data.limit', 'space.widht', 'method.every', 'search.warmup', 'seed'}


def test_hub_darts_has_ten_classes(tmp_path: Path) -> None:
    """NNI's space cannot classify three kinds of images."""
    from PIL import Image

    for name in 'abc':
        (tmp_path / 'images' / name).mkdir(parents=True)
        for index in range(20):
            Image.new('RGB', (32, 32), (index, 0, 0)).save(tmp_path / 'images' / name / f'{index}.png')
    text = 'data: {name: image_folder, root: images, batch_size: 4}\nspace: hub_darts\nmethod: darts\n'
    (line,) = complaints(tmp_path / 's.yml', text)
    assert line == "s.yml:2: space: NNI's DARTS space has 10 classes and images has 3; use `name: darts`"


@pytest.mark.parametrize(
    ('space', 'expected'),
    [
        (
            'hub_nasbench201, stem_out_channels: -1',
            's.yml:2: space.stem_out_channels: must be 0 or more, not -1; change',
        ),
        ('hub_nasnet, dataset: imagenet', "s.yml:2: space.dataset: NNI's NASNet space has 1000 classes with dataset"),
        ('nasbench201, operations: [conv]', "s.yml:2: space.operations: operations must hold only none"),
        ('darts, stem: tiny', 's.yml:2: space.stem: '),
        ('s1, operations: [none]', 's.yml:2: space.operations: '),
        ('proxylessnas, base_widths: [8]', 's.yml:2: space: cannot be built from these values (AssertionError);'),
        ('proxylessnas, dropout_rate: .nan', 's.yml:2: space.dropout_rate: must be a finite number, not nan'),
        ('hub_darts, auxiliary_loss: true', 's.yml:2: space: cannot be built from these values (AssertionError: Aux'),
        ('hub_darts, num_cells: 0', 's.yml:2: space: cannot be built from these values (AssertionError: Depth of 0'),
        ('hub_darts, dataset: imagenet', "s.yml:2: space.dataset: NNI's DARTS space has 1000 classes with dataset"),
    ],
)
def test_spaces_of_nni(tmp_path: Path, space: str, expected: str) -> None:
    """Whatever NNI's factories raise, the user reads a sentence with a place."""
    (line,) = complaints(tmp_path / 's.yml', f'data: digits\nspace: {{name: {space}}}\nmethod: darts\n')
    assert line.startswith(expected)


@pytest.mark.parametrize('space', ['proxylessnas', 'mobilenetv3', 'hub_nasbench201', 'nasbench201', 's4', 'hub_pnas'])
def test_what_acts_on_cells_needs_them(tmp_path: Path, monkeypatch, space: str) -> None:
    monkeypatch.setattr(assembly, 'make_strategy', lambda settings: Search(transforms=(PartialChannels(k=2),)))
    text = f'data: digits\nspace: {{name: {space}}}\nmethod: darts\n'.replace('hub_pnas', 'hub_pnas, width: 16')
    if space in ('proxylessnas', 'mobilenetv3', 'hub_nasbench201'):
        said = 's.yml:3: method: PartialChannels acts on cells, and this space has none: leave transforms out'
        assert complaints(tmp_path / 's.yml', text) == [said]
    else:
        (tmp_path / 's.yml').write_text(text)
        sizes = {'s4': {'width': 16, 'num_cells': 8}, 'hub_pnas': {'width': 16}}
        assert load_settings(tmp_path / 's.yml').space == {'name': space, **sizes.get(space, {})}


@pytest.mark.parametrize('path', sorted((ROOT / 'search_spaces').glob('*.yml')), ids=lambda path: path.stem)
def test_files_of_spaces(tmp_path: Path, path: Path) -> None:
    if path.stem in ('tuning', 'methods'):
        pytest.skip("a tuner's")
    (tmp_path / 's.yml').write_text(f'data: digits\nspace: {path}\nmethod: darts\n')
    settings = load_settings(tmp_path / 's.yml')
    name = settings.space['name']
    assert path.stem.startswith(name) and resolved(settings)['space']['name'] == name



@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without a GPU')
def test_gpu_that_is_not_there(tmp_path: Path) -> None:
    """Said before anything runs."""
    (line,) = complaints(tmp_path / 's.yml', TINY + 'device: cuda\n')
    assert line == 's.yml:6: device: asks for a GPU, and this machine has none; use auto or cpu'


def test_one_mistake_hides_no_other(tmp_path: Path) -> None:
    """A broken section does not keep the others, nor its own other keys, from being checked."""
    text = """\
data: {name: digitz}
space: {name: darts, operations: [skip_conect]}
method: {preset: wcnass, trade_of: 1.0}
search: {epoch: 2, epochs: 1, warmup: 1}
tester: {name: fq_gan, dictionary_size: -1}
"""
    lines = ' '.join(complaints(tmp_path / 's.yml', text))
    for key in (
        'data.name',
        'space.operations',
        'method.preset',
        'method.trade_of',
        'search.epoch:',
        'search.warmup',
        'tester.dictionary_size',
    ):
        assert key in lines, key
    assert len(complaints(tmp_path / 's.yml', text)) == 7


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('method.arc_learning_rate=-3', 'arc_learning_rate must be 0 or more and finite'),
        ('method.log_prob_every_n_step=0', 'log_prob_every_n_step must be at least 1 batch'),
        ('method.gradient_clip_val=-1', 'gradient_clip_val must be positive and finite'),
        ('method.trade_off=.inf', 'trade_off'),
    ],
)
def test_numbers_of_the_strategy(tmp_path: Path, override: str, message: str) -> None:
    """Wrong values are refused before anything runs."""
    (line,) = complaints(tmp_path / 's.yml', TINY, override)
    assert message in line


def test_a_preset_that_cannot_have_the_files_numbers(tmp_path: Path) -> None:
    """The complaint says how to leave them out, and that works."""
    (line,) = complaints(tmp_path / 's.yml', TINY, 'method.preset=darts')
    assert 'method.every: is not a known key here' in line
    assert line.endswith('; or give --set method=darts in the place of --set method.preset=darts')
    assert load_settings(tmp_path / 's.yml', ['method=darts']).method == {'preset': 'darts', 'dataset': 'other'}


def test_lengths_given_twice(tmp_path: Path) -> None:
    """The schedule's lengths are the search's; two different ones are a mistake."""
    schedule = 'method: {preset: darts, schedule: {name: single_stage, epochs: 3, warmup: 1}}\n'
    (tmp_path / 's.yml').write_text('data: digits\nspace: darts\n' + schedule)
    settings = load_settings(tmp_path / 's.yml')
    assert (settings.search.epochs, settings.search.warmup) == (3, 1)
    (tmp_path / 'again.yml').write_text(yaml.safe_dump(resolved(settings)))
    assert load_settings(tmp_path / 'again.yml').search == settings.search
    (line,) = complaints(tmp_path / 's.yml', 'data: digits\nspace: darts\n' + schedule + 'search: {epochs: 5}\n')
    assert line == 's.yml:3: method.schedule.epochs: is 3 here and 5 in search.epochs; keep one of them'


def test_retraining(tmp_path: Path) -> None:
    """All numbers of a recipe; what is written goes before a named recipe's, and that before a trial's sizes."""
    fields = {field.name: field.default for field in dataclasses.fields(RetrainingRecipe) if field.name != 'seed'}
    sizes = {'epochs': 10, 'channels': 16, 'cells': 8}
    assert RetrainNumbers().numbers() == {**fields, **sizes}
    assert get_args(get_args(get_type_hints(RetrainNumbers)['recipe'])[0]) == tuple(RETRAINING_RECIPES)
    path = tmp_path / 's.yml'
    for written, expected in (
        ('{recipe: adversarial, ema_decay: 0.9}',
         {**sizes, **RETRAINING_RECIPES['adversarial'].numbers, 'ema_decay': 0.9}),
        ('{recipe: imagenet, cells: 5, stem: cifar, optimizer: lamb}',
         {**RETRAINING_RECIPES['imagenet'].numbers, 'cells': 5, 'stem': 'cifar', 'optimizer': 'lamb'}),
    ):
        path.write_text(TINY + f'retrain: {written}\n')
        settings = load_settings(path)
        assert settings.retrain.numbers() == {**fields, **expected}
        (tmp_path / 'again.yml').write_text(yaml.safe_dump(resolved(settings)))
        assert load_settings(tmp_path / 'again.yml').retrain == settings.retrain
    assert load_settings(path, ['retrain.recipe=p_darts']).retrain.epochs == 10


def test_set(tmp_path: Path) -> None:
    """Overrides are YAML, reach into sections, and are blamed by name."""
    (tmp_path / 's.yml').write_text(TINY)
    settings = load_settings(tmp_path / 's.yml', ['search.epochs=7', 'method.arc_learning_rate=1e-3', 'space.width=8'])
    assert (settings.search.epochs, settings.method['arc_learning_rate'], settings.space['width']) == (7, 0.001, 8)
    assert load_settings(tmp_path / 's.yml', ['method=darts']).method == {'preset': 'darts', 'dataset': 'other'}
    assert complaints(tmp_path / 's.yml', TINY, 'serch.epochs=1')[0].startswith(
        '--set serch.epochs=1: serch: is not a known'
    )
    with pytest.raises(CommandError, match='write key=value'):
        load_settings(tmp_path / 's.yml', ['search.epochs'])


def test_proposals_of_a_tuner(tmp_path: Path) -> None:
    """Nested choices keep what the new option takes too; mistakes are the tuner's."""
    path = tmp_path / 's.yml'
    path.write_text(TINY.replace('every: 2', 'every: 2, arc_learning_rate: 0.1'))
    same = load_settings(path, [], {'method': {'_name': 'wcnas', 'trade_off': 0.5}, 'seed': 3, 'tester.width': 4})
    numbers = {'arc_learning_rate': 0.1, 'dataset': 'other'}
    assert same.method == {'preset': 'wcnas', 'every': 2, 'trade_off': 0.5, **numbers}
    assert (same.seed, same.tester) == (3, {'name': 'fq_gan', 'width': 4, 'dictionary_size': 32, 'latent': 16})
    other = load_settings(path, [], {'method': {'_name': 'darts'}})
    assert other.method == {'preset': 'darts', **numbers}
    lines = complaints(path, TINY, method={'_name': 'wcnas', 'tradeoff': 0.5})
    assert lines == ['tuner: method.tradeoff: is not a known key here; did you mean trade_off?']


def test_resolved_is_a_settings_file(tmp_path: Path) -> None:
    """What a run writes down can be fed back and says the same."""
    path = tmp_path / 's.yml'
    path.write_text(TINY)
    everything = resolved(load_settings(path))
    assert everything['method']['trade_off'] == 1.0 and everything['versions']['torch']
    (tmp_path / 'again.yml').write_text(yaml.safe_dump(everything))
    again = resolved(load_settings(tmp_path / 'again.yml'))
    assert differing_key(everything, again) is None
    assert differing_key(everything, resolved(load_settings(path, ['tester.width=16']))) == 'tester.width'


@pytest.mark.parametrize('method', ['objective: worst_case', 'preset: darts, objective: {name: worst_case, every: 3}'])
def test_resolved_names_the_defaults_of_members(tmp_path: Path, method: str) -> None:
    """An option that the settings name by hand is written with all of its numbers."""
    path = tmp_path / 's.yml'
    path.write_text(TINY.replace('preset: wcnas, every: 2', f'{method}, schedule: single_stage'))
    everything = resolved(load_settings(path, ['search.warmup=1']))
    every = 3 if 'every' in method else 8
    assert everything['method']['objective'] == {
        'name': 'worst_case',
        'trade_off': 1.0,
        'average_weight': 1.0,
        'decov': 0.01,
        'every': every,
        'hyperparameter_lr': 0.0003,
        'reuse_gradient': False,
    }
    assert everything['method']['schedule'] == {'name': 'single_stage'}
    (tmp_path / 'again.yml').write_text(yaml.safe_dump(everything))
    assert differing_key(everything, resolved(load_settings(tmp_path / 'again.yml'))) is None


def test_resolved_without_a_preset_names_every_axis(tmp_path: Path) -> None:
    """Neutral members are written too; numbers of an objective that is replaced are not."""
    path = tmp_path / 's.yml'
    path.write_text('data: digits\nspace: darts\nmethod: {arc_learning_rate: 0.1}\n')
    method = resolved(load_settings(path))['method']
    assert method['objective'] == {'name': 'average_case', 'every': 1}
    assert set(AXES) <= method.keys() and method['selection'] == {'name': 'magnitude', 'by': 'probability'}
    path.write_text('data: digits\nspace: darts\nmethod: {preset: wcnas, objective: average_case}\n')
    replaced = resolved(load_settings(path))
    assert 'trade_off' not in replaced['method'] and replaced['method']['base'] == 'darts'
    path.write_text(yaml.safe_dump(replaced))
    assert differing_key(replaced, resolved(load_settings(path))) is None


def test_checking_draws_nothing(tmp_path: Path) -> None:
    """The random state after a check is that before it."""
    (tmp_path / 's.yml').write_text(TINY)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load_settings(tmp_path / 's.yml')
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize('name', ['digits.trial.yml', 'c10.trial.yml'])
def test_shipped_settings(name: str) -> None:
    """The files of the repository are right."""
    build = SECTIONS if name.startswith('digits') else ()  # the other needs its data
    load_settings(Path(__file__).parents[2] / 'experiments' / name, build=build)
