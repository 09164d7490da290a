"""Settings without a tester: the augmentation policy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
import yaml

from nni_wcnas import AugmentationPolicy
from nni_wcnas.cli.search import open_run, search
from nni_wcnas.settings import assembly
from nni_wcnas.settings.problems import CommandError, SettingsError
from nni_wcnas.settings.resolved import differing_key, resolved
from nni_wcnas.settings.settings import load_settings
from nni_wcnas.settings.trial import Trial
from nni_wcnas.tester import convolution_weights, fitting_width

TINY = """\
data: {name: digits, limit: 80, batch_size: 40}
space: {name: darts, width: 2, num_cells: 3, num_nodes: 2, operations: [max_pool_3x3, skip_connect, sep_conv_3x3]}
method: {preset: wcnas, every: 1}
search: {epochs: 1}
retrain: {epochs: 1, channels: 4, cells: 3}
directory: runs
"""
POLICY = {'name': 'augmentation_policy', 'operations': 'dada', 'per_sample': True, 'temperature': 0.5}


def settings(folder: Path, more: str = ''):
    """Read the tiny settings with some more lines."""
    path = folder / 's.yml'
    path.write_text(TINY + more)
    return load_settings(path)


@pytest.mark.parametrize('more', ['', 'tester: augmentation_policy\n'])
def test_is_the_policy_and_is_written_down(tmp_path: Path, more: str) -> None:
    found = settings(tmp_path, more)
    tester = assembly.make_tester(found, assembly.make_data(found))
    assert isinstance(tester, AugmentationPolicy) and (tester.num_classes, tester.image_size) == (10, 16)
    everything = resolved(found)
    assert everything['tester'] == POLICY
    assert (everything['auxiliary']['name'], everything['auxiliary']['width']) == ('small_resnet', 4)
    (tmp_path / 'again.yml').write_text(yaml.safe_dump(everything))
    assert differing_key(everything, resolved(load_settings(tmp_path / 'again.yml'))) is None


def test_arguments_reach_it(tmp_path: Path) -> None:
    found = settings(tmp_path, 'tester: {name: augmentation_policy, per_sample: false, temperature: 1.5}\n')
    tester = assembly.make_tester(found, assembly.make_data(found))
    assert (tester.per_sample, tester.temperature) == (False, 1.5)


def test_the_auxiliary_model_follows_the_tester(tmp_path: Path) -> None:
    assert resolved(settings(tmp_path, 'tester: {name: fq_gan, width: 8}\n'))['auxiliary']['name'] == 'tied'
    assert resolved(settings(tmp_path, 'auxiliary: test_resnet\n'))['auxiliary']['name'] == 'test_resnet'
    plain = (tmp_path / 's.yml').read_text().replace('{preset: wcnas, every: 1}', 'darts')
    (tmp_path / 's.yml').write_text(plain.replace('auxiliary: test_resnet\n', ''))
    assert not {'tester', 'auxiliary'} & resolved(load_settings(tmp_path / 's.yml')).keys()


def test_a_small_resnet_is_as_wide_as_fits_the_space_or_as_it_is_told(tmp_path: Path) -> None:
    """Settings build the model that a strategy brings to the same space, and write its width down."""
    for more, width in (('', 16), ('auxiliary: {width: 6}\n', 6), ('auxiliary: small_resnet\n', 16)):
        path = tmp_path / 's.yml'
        path.write_text(re.sub('space: .*', 'space: {name: nasbench201, width: 18, num_cells: 4}', TINY) + more)
        found = load_settings(path)
        assert resolved(found)['auxiliary']['width'] == width
        data, strategy = assembly.make_data(found), assembly.make_strategy(found)
        evaluator = assembly.make_evaluator(found, data, strategy)
        assert evaluator.module.auxiliary.classifier.bn1.num_features == width // 2 * 2
        if not more:
            space = assembly.make_space(found, data)
            assert fitting_width(convolution_weights(space)) == width


def test_another_random_state_is_not_drawn_for_the_width(tmp_path: Path) -> None:
    found = settings(tmp_path)
    before = torch.get_rng_state()
    assert assembly.auxiliary_arguments(found)['width'] == 4 and torch.get_rng_state().equal(before)


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        ('auxiliary: {name: test_resnet, width: 8}\n', 's.yml:7: auxiliary.width: width=8 is of small_resnet, and'),
        ('auxiliary: {width: 1}\n', 's.yml:7: auxiliary.width: must be at least 2, not 1'),
        ('auxiliary: tied\n', 's.yml:7: auxiliary: A tied auxiliary model shares a discriminator, and Augmentation'),
        ('tester: {name: augmentation_policy, temperature: 0.0}\n', 's.yml:7: tester.temperature: temperature must be'),
        ('tester: {name: augmentation_policy, per_sample: 2}\n', 's.yml:7: tester.per_sample: must be true or false'),
        ('tester: {name: augmentation_policy, image_size: 8}\n', 's.yml:7: tester.image_size: image_size=8 does'),
    ],
)
def test_mistakes(tmp_path: Path, more: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, more)
    (line,) = str(caught.value).splitlines()
    assert line.replace(f'{tmp_path}/', '').startswith(message)


@pytest.mark.parametrize('more', ['', 'tester: augmentation_policy\n'])
def test_its_auxiliary_model_is_what_is_pretrained(tmp_path: Path, more: str) -> None:
    from nni_wcnas.cli.pretrain import pretrain_tester

    file = tmp_path / 'v.pt'
    found = settings(tmp_path, more + 'auxiliary: {name: test_resnet, steps: 3}\n')
    told = pretrain_tester(found, file)
    assert told.keys() == {'auxiliary', 'seconds_generator', 'seconds_auxiliary'}
    assert torch.load(file, weights_only=True)['training']['taught'] == 3
    with pytest.raises(CommandError, match=r'--steps is of a generator, and AugmentationPolicy has none; leave it out'):
        pretrain_tester(found, tmp_path / 'other.pt', 2)
    assert not (tmp_path / 'other.pt').exists()
    for line in (f'tester: {{name: augmentation_policy, pretrained: {file}}}\nauxiliary: test_resnet\n',
                 f'auxiliary: {{name: test_resnet, pretrained: {file}}}\n'):
        read = settings(tmp_path, line)
        evaluator = assembly.make_evaluator(read, assembly.make_data(read), assembly.make_strategy(read))
        stored = torch.load(file, weights_only=True)['auxiliary']
        assert all(torch.equal(value, stored[name]) for name, value in evaluator.module.auxiliary.state_dict().items())
    for line, message in (
        (f'auxiliary: {{name: test_vit, pretrained: {file}}}\n', 'auxiliary.pretrained: .* holds another auxiliary'),
        ('auxiliary: {pretrained: none.pt}\n', 'auxiliary.pretrained: There is no file .*none.pt; make it with'),
        (f'tester: {{name: fq_gan, pretrained: {file}}}\n', 'tester.pretrained: .* of kind AugmentationPolicy, but FQ'),
    ):
        with pytest.raises(SettingsError, match=f's.yml:7: {message}'):
            settings(tmp_path, line)


def test_a_search_writes_the_policy_it_has_learned(tmp_path: Path) -> None:
    found = settings(tmp_path, 'auxiliary: test_resnet\n')
    trial = Trial(found)
    run = open_run(tmp_path / 'run', trial, resume=False)
    search(trial, run)
    last = run.read_history()[-1]
    assert {'loss_B', 'loss_V', 'policy_entropy', 'policy_share', 'policy_probability', 'policy_magnitude'} <= {*last}
    rows = json.loads(run.policy.read_text())
    assert len(rows) == 25 and rows[0].keys() == {'share', 'operations', 'probabilities', 'magnitudes'}
    assert rows[0]['share'] == pytest.approx(last['policy_share'])
    assert 'training_module.tester.selection' in torch.load(run.checkpoint, weights_only=True)['state_dict']
    assert run.read_settings()['tester'] == POLICY
