"""A network of ImageNet's 1000 classes, in small: its published variants, and measures without hard images."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from PIL import Image

from nni_wcnas.cli import main
from nni_wcnas.measure.corruption import ALEXNET_CLEAN_ERROR, ALEXNET_ERRORS, SEVERITIES

Command = Callable[..., subprocess.CompletedProcess[str]]
IDS = [f'n{10000000 + 7 * place}' for place in range(1000)]
SIZE = ('--epochs', '1', '--channels', '4', '--cells', '3', '--cpu')


def paint(folder: Path, ids: list[str], names: tuple[str, ...] = ('a.png',)) -> Path:
    """Images of one colour, which is their class's."""
    for name in ids:
        (folder / name).mkdir(parents=True)
        place = IDS.index(name)
        for file in names:
            Image.new('RGB', (8, 8), (place // 10, place % 10 * 25, 90)).save(folder / name / file)
    return folder


@pytest.fixture(scope='module')
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training and test images, one corruption whose severities are alike, and ImageNet-A."""
    root = tmp_path_factory.mktemp('images')
    paint(root / 'own' / 'train', IDS, ('a.png', 'b.png'))
    test = paint(root / 'own' / 'test', IDS)
    (root / 'c' / 'fog').mkdir(parents=True)
    for severity in SEVERITIES:
        (root / 'c' / 'fog' / str(severity)).symlink_to(test)
    paint(root / 'a', IDS[::5])
    return root


@pytest.fixture(scope='module')
def run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A retraining on them."""
    path = tmp_path_factory.mktemp('run') / 'run'
    data = f'{{name: image_folder, root: {images / "own"}, image_size: 8, batch_size: 250}}'
    assert main(['retrain', 'darts_v2', '--data', data, '--run', str(path), *SIZE]) == 0
    return path


@pytest.fixture(scope='module')
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A retraining on other data."""
    path = tmp_path_factory.mktemp('digits') / 'run'
    assert main(['retrain', 'darts_v2', '--data', '{name: digits, limit: 60}', '--run', str(path), *SIZE]) == 0
    return path


def values(run: Path) -> dict[str, Any]:
    return {name: entry['value'] for name, entry in json.loads((run / 'record.json').read_text())['measures'].items()}


def test_published_variants(run: Path, images: Path, here: Command) -> None:
    """Under fog that changes nothing the error is the clean one; with the other fourteen, both means are there."""
    asked = ('evaluate', run, '--difficulty', 'none', '--imagenet-c', images / 'c', '--cpu')
    refused = here(*asked)
    assert refused.returncode == 2 and refused.stderr.count('\n') == 1
    assert f'There is no folder {images / "c" / "gaussian_noise" / "1"}' in refused.stderr
    done = here(*asked, '--imagenet-a', images / 'a', '--corruptions', 'fog')
    assert done.returncode == 0, done.stderr
    assert 'ImageNet-A' in done.stdout and 'hardest' not in done.stdout
    found = values(run)
    assert all(found[f'error_corruption_fog_{severity}'] == found['error'] for severity in SEVERITIES)
    assert found['examples_imagenet_a'] == 200 and found['error_imagenet_a'] <= found['error']  # Of 200 classes.
    assert not any(name.endswith(('_hard', '_rest')) for name in found)

    record = json.loads((run / 'record.json').read_text())
    assert {record['measures'][f'{kind}_imagenet_a']['unit'] for kind in ('error', 'accuracy')} == {'share'}
    assert record['measured_with']['imagenet_a'] == {
        'folder': str((images / 'a').resolve()), 'images': 200, 'resize': 8, 'image_size': 8}
    others = [name for name in ALEXNET_ERRORS if name != 'fog']
    record['measures'] |= {f'error_corruption_{name}_{severity}': {'value': ALEXNET_ERRORS[name], 'unit': 'share'}
                           for name in others for severity in SEVERITIES}
    (run / 'record.json').write_text(json.dumps(record))
    assert here(*asked, '--corruptions', 'fog').returncode == 0
    mean = values(run)
    fog, clean = ALEXNET_ERRORS['fog'], mean['error']
    assert mean['mce'] == pytest.approx(fmean([1.0] * 14 + [clean / fog]))
    rises = [(ALEXNET_ERRORS[name] - clean) / (ALEXNET_ERRORS[name] - ALEXNET_CLEAN_ERROR) for name in others]
    assert mean['relative_mce'] == pytest.approx(fmean([*rises, 0.0]))
    assert mean['error_imagenet_a'] == found['error_imagenet_a']  # Kept.
    other = images.parent / 'other'
    shutil.copytree(images / 'a', other)
    replaced = here('evaluate', run, '--imagenet-a', other, '--cpu')
    assert replaced.returncode == 0 and f"imagenet_a: folder is '{other.resolve()}'" in replaced.stderr


def test_the_page_has_them(run: Path, here: Command, tmp_path: Path) -> None:
    assert here('compare', run, '--out', tmp_path / 'out').returncode == 0
    page = (tmp_path / 'out' / 'compare.html').read_text()
    assert 'ImageNet-A, %' in page and 'relative mCE' in page and 'ImageNet-R' not in page


def test_other_data_are_refused(images: Path, digits: Path, here: Command) -> None:
    """In one sentence, before anything is measured."""
    for option in ('--imagenet-c', '--imagenet-a', '--imagenet-r', '--imagenet-sketch'):
        done = here('evaluate', digits, '--difficulty', 'none', option, images / 'a', '--cpu')
        assert done.returncode == 2 and done.stderr.count('\n') == 1
        assert "digits has 10 classes, '0' among them, and not ImageNet's 1000" in done.stderr
    for words, message in (
        (('--cifar-c', images, '--corruptions', 'fog'), '--cifar-c and --imagenet-c are of different data sets; give'),
        (('--corruption-limit', '20'), '--corruption-limit 20 does not limit published folders; leave it out'),
    ):
        done = here('evaluate', digits, '--imagenet-c', images / 'c', *words, '--cpu')
        assert done.returncode == 2 and message in done.stderr
    assert not (digits / 'record.json').exists()


def test_hard_images_are_forgotten_with_their_difficulty(digits: Path, here: Command) -> None:
    """Nothing is left that was measured with another."""
    assert here('evaluate', digits, '--cpu', '--difficulty', 'reference').returncode == 0
    assert 'brier_hard' in values(digits)
    assert here('evaluate', digits, '--cpu', '--difficulty', 'none').returncode == 0
    record = json.loads((digits / 'record.json').read_text())
    assert not any(name.endswith(('_hard', '_rest')) for name in record['measures']) and not record['hardest']
    assert record['measured_with']['test']['difficulty'] == 'none'
    refused = here('evaluate', digits, '--cpu', '--share', '0.3')
    assert refused.returncode == 2 and 'there are none since --difficulty none; give another' in refused.stderr
