"""``nni-wcnas retrain --recipe``: the recipe's numbers, what replaces them, and what it fills in for the data."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from nni_wcnas.cli import main
from nni_wcnas.cli.parser import make_parser
from nni_wcnas.compare.number import formatted
from nni_wcnas.retrain import checkpoint, retraining
from nni_wcnas.retrain.recipe import RETRAINING_RECIPES
from nni_wcnas.spaces.architecture import load_architecture

SMALL = ('--epochs', '1', '--channels', '4', '--cells', '3', '--auxiliary-weight', '0')
DATA = '{name: digits, limit: 60, batch_size: 30}'


def retrained(here: Any, finished: Path, run: Path, *more: str, data: str = DATA) -> dict[str, Any]:
    done = here('retrain', finished, '--data', data, '--run', run, *SMALL, *more)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load((run / 'settings.yml').read_text())


def test_recipe_and_what_replaces_it(finished: Path, tmp_path: Path, here: Any) -> None:
    settings = retrained(here, finished, tmp_path / 'run', '--recipe', 'adversarial', '--adversarial-steps', '1')
    assert settings['recipe'] == 'adversarial'
    numbers = settings['retrain']
    assert (numbers['drop_path'], numbers['adversarial_steps'], numbers['epochs']) == (0.3, 1, 1)
    assert settings['data'] == {'name': 'digits', 'limit': 60, 'batch_size': 30, 'cutout': 16}


def test_without_a_recipe(finished: Path, tmp_path: Path, here: Any) -> None:
    settings = retrained(here, finished, tmp_path / 'run', '--ema-decay', '0.5')
    assert settings['recipe'] is None and settings['data'] == {'name': 'digits', 'limit': 60, 'batch_size': 30}
    assert settings['retrain']['drop_path'] == 0.2
    assert here('evaluate', tmp_path / 'run').returncode == 0


def test_cost_of_the_search_goes_along(finished: Path, tmp_path: Path, here: Any) -> None:
    """Wherever the retraining lies, whether the run or its file is named, and from one retraining to the next."""
    with (finished / 'metrics.csv').open() as file:
        seconds = sum(float(row['seconds'] or 0) for row in csv.DictReader(file))
    file = finished / 'architecture.json'
    for name, source in (('run', finished), ('file', file), ('again', tmp_path / 'run')):
        cost = {'search_seconds': pytest.approx(seconds), 'pretraining_seconds': 0.0}
        assert retrained(here, source, tmp_path / name)['search_cost'] == cost
    retrained(here, tmp_path / 'run', tmp_path / 'run', '--resume')
    copied = tmp_path / 'copied.json'
    copied.write_bytes(file.read_bytes())
    for source in (copied, Path('darts_v2')):
        assert 'search_cost' not in retrained(here, source, tmp_path / f'from_{source.name}')
    assert here('evaluate', tmp_path / 'run', '--cpu').returncode == 0
    assert here('compare', tmp_path / 'run', '--out', tmp_path / 'out').returncode == 0
    record = json.loads((tmp_path / 'out' / 'records' / 'wcnas-seed-0-retraining-0.json').read_text())
    assert record['measures']['search_seconds'] == {'value': pytest.approx(seconds), 'unit': 's'}
    html = (tmp_path / 'out' / 'compare.html').read_text()
    assert record['measures']['pretraining_seconds'] == {'value': 0.0, 'unit': 's'}
    assert '<th class="number">pre-training in it, s</th>' in html
    row = re.search(r'<th class="number">search, s</th>.*?</table>', html, re.DOTALL)
    assert row is not None and f'>{formatted(seconds, "search_seconds")}</td>' in row[0]


def test_another_stem(finished: Path, tmp_path: Path, here: Any) -> None:
    """The run's architecture file has the stem, so that what reads the run builds the same network."""
    retrained(here, finished, tmp_path / 'run', '--stem', 'imagenet')
    assert load_architecture(tmp_path / 'run' / 'architecture.json').arguments['stem'] == 'imagenet'


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (('--decay', 'linear'), 'epochs must be more than the 5 last ones of the linear decay, not 1'),
        (('--max-macs', '10'), 'million multiply-adds for an image, more than max_macs=10 allows'),
    ],
)
def test_refused_before_anything_is_written(
    more: tuple[str, ...], message: str, finished: Path, tmp_path: Path, here: Any
) -> None:
    done = here('retrain', finished, '--data', DATA, '--run', tmp_path / 'run', *SMALL, *more)
    assert done.returncode == 2 and message in done.stderr and not (tmp_path / 'run').exists()


def test_another_recipe_overwrites_nothing(finished: Path, tmp_path: Path, here: Any) -> None:
    run = tmp_path / 'run'
    retrained(here, finished, run)
    before = {path: path.read_bytes() for path in run.rglob('*') if path.is_file()}
    for more, message in (
        (('--stem', 'imagenet'), 'of another architecture'),
        (('--lr', '0.1'), 'made with lr=0.025, not 0.1: give the same'),
    ):
        done = here('retrain', finished, '--data', DATA, '--run', run, *SMALL, *more, '--resume')
        assert done.returncode == 2 and message in done.stderr and done.stderr.count('\n') == 1
        assert {path: path.read_bytes() for path in run.rglob('*') if path.is_file()} == before


def test_imagenets_images(finished: Path, tmp_path: Path, here: Any) -> None:
    """The recipe's arguments of the images, others in their place, and a policy; read again to evaluate."""
    for number in range(12):
        path = tmp_path / 'images' / ('train', 'train', 'val')[number % 3] / 'ab'[number % 2] / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 30, 3), 20 * number, np.uint8)).save(path)
    data = f'{{name: image_folder, root: {tmp_path / "images"}, batch_size: 4, image_size: 16, auto_augment: rand-m5}}'
    settings = retrained(here, finished, tmp_path / 'run', '--recipe', 'imagenet', '--epochs', '6', data=data)
    found = {'name': 'image_folder', 'root': str(tmp_path / 'images'), 'batch_size': 4, 'image_size': 16}
    assert settings['data'] == {**found, 'crop': 'resized', 'crop_pct': 0.875, 'color_jitter': [0.4, 0.4, 0.4, 0.2],
                                'auto_augment': 'rand-m5'}
    done = here('evaluate', tmp_path / 'run')
    assert done.returncode == 0, done.stderr
    settings = retrained(here, finished, tmp_path / 'other', '--recipe', 'imagenet', '--epochs', '6')
    assert 'image_size' not in settings['data'] and settings['data']['crop'] == 'resized'


@pytest.mark.parametrize(
    ('argument', 'message'),
    [
        ('auto_augment: rand-q5', "auto_augment='rand-q5' is not one of timm's policies"),
        ('crop: whole', "'whole' is not one of padded, resized"),
        ('color_jitter: much', "data.color_jitter: must be a number, not 'much'; change it"),
        ('color_jitter: -1.0', 'color_jitter=-1.0 must be one number'),
    ],
)
def test_wrong_augmentation(argument: str, message: str, finished: Path, tmp_path: Path, here: Any) -> None:
    done = here('retrain', finished, '--data', f'{{name: digits, {argument}}}', '--run', tmp_path / 'run')
    assert done.returncode == 2 and message in done.stderr and done.stderr.count('\n') == 1


@pytest.mark.parametrize(
    ('key', 'data'),
    [
        ('limit', '{name: digits, limit: 40, batch_size: 30}'),
        ('cutout', '{name: digits, limit: 60, batch_size: 30, cutout: 8}'),
    ],
)
def test_other_data_are_not_gone_on_with(key: str, data: str, finished: Path, tmp_path: Path, here: Any) -> None:
    before = retrained(here, finished, tmp_path / 'run')
    done = here('retrain', finished, '--data', data, '--run', tmp_path / 'run', *SMALL, '--resume')
    assert done.returncode == 2
    assert re.search(rf'settings.yml was made with data.{key}=.*; give the same, or another --run', done.stderr)
    assert yaml.safe_load((tmp_path / 'run' / 'settings.yml').read_text()) == before
    retrained(here, finished, tmp_path / 'run', '--resume', data=DATA.replace('}', ', num_workers: 1}'))


def test_another_folder_of_images_is_not_gone_on_with(finished: Path, tmp_path: Path, here: Any) -> None:
    """Of one name, too; and without settings nothing tells."""
    for parent in ('a', 'b'):
        for label in range(2):
            folder = tmp_path / parent / 'images' / str(label)
            folder.mkdir(parents=True)
            for number in range(10):
                Image.new('RGB', (16, 16), (100 * label, 10 * number, 0)).save(folder / f'{number}.png')
    data = '{name: image_folder, root: %s, image_size: 16, batch_size: 8}'
    first, other = (data % (tmp_path / parent / 'images') for parent in 'ab')
    run = tmp_path / 'run'
    retrained(here, finished, run, data=first)
    done = here('retrain', finished, '--data', other, '--run', run, *SMALL, '--resume')
    assert done.returncode == 2 and 'was made with data.root=' in done.stderr
    (run / 'settings.yml').unlink()
    done = here('retrain', finished, '--data', first, '--run', run, *SMALL, '--resume')
    assert done.returncode == 2 and 'does not tell what the checkpoint beside it was trained on' in done.stderr


def test_the_network_is_built_once_and_the_checkpoint_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a new retraining and of one that goes on, the checks before anything is written included."""
    calls: Counter[str] = Counter()

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            calls[function.__name__] += 1
            return function(*arguments, **named)

        return call

    monkeypatch.setattr(checkpoint, 'read_tensors', counted(checkpoint.read_tensors))
    monkeypatch.setattr(retraining, 'CellNetwork', counted(retraining.CellNetwork))
    command = ['retrain', 'darts_v2', '--data', DATA, '--run', str(tmp_path / 'run'), *SMALL, '--cpu']
    assert main(command) == 0
    assert calls == {'CellNetwork': 1}
    assert main([*command, '--resume']) == 0
    assert calls == {'CellNetwork': 2, 'read_tensors': 1}


def test_several_devices_without_a_gpu_name_the_commands_remedy(finished: Path, tmp_path: Path, here: Any) -> None:
    done = here('retrain', finished, '--data', DATA, '--run', tmp_path / 'run', *SMALL, '--devices', '99')
    assert done.returncode == 2 and 'give fewer, or --cpu for as many processes on the CPU' in done.stderr


def test_help_lists_the_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(['retrain', '--help'])
    text = capsys.readouterr().out
    assert all(f'  {name:12} {recipe.description}' in text for name, recipe in RETRAINING_RECIPES.items())
