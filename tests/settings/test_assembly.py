"""Which parts the settings make."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from nni_wcnas.settings import assembly
from nni_wcnas.settings.settings import load_settings

_SETTINGS = """
data: {name: digits, limit: 100, batch_size: 10}
space: {name: darts, width: 4, num_cells: 3}
method: darts
device: cpu
"""


def _settings(tmp_path: Path, *overrides: str):
    path = tmp_path / 'settings.yml'
    path.write_text(_SETTINGS)
    return load_settings(path, overrides)


@pytest.mark.parametrize('precision', ['32-true', 'bf16-mixed'])
def test_precision_is_the_trainers(tmp_path: Path, precision: str) -> None:
    settings = _settings(tmp_path, f'search.precision={precision}')
    data = assembly.make_data(settings)
    evaluator = assembly.make_evaluator(settings, data, assembly.make_strategy(settings))
    assert evaluator.trainer.precision == precision


@pytest.mark.parametrize(
    ('overrides', 'expected'),
    [
        ((), 'meta'),
        (('data.num_workers=1',), 'cpu'),
        (('data.device=cpu',), 'cpu'),
        (('data.color_jitter=0.4',), 'cpu'),
        (('data.crop=resized',), 'cpu'),
    ],
)
def test_batches_are_made_on_the_device_of_the_search(tmp_path: Path, monkeypatch, overrides, expected: str) -> None:
    settings = _settings(tmp_path, *overrides)
    monkeypatch.setattr(assembly, 'device', lambda settings: 'meta')
    batch = next(iter(assembly.make_data(settings).train_dataloader()))
    assert batch.images.device.type == expected


def test_a_folder_stays_where_its_files_are_decoded(tmp_path: Path, monkeypatch) -> None:
    for number in range(28):
        folder = tmp_path / 'images' / 'ab'[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (32, 32), (number, 0, 0)).save(folder / f'{number}.png')
    settings = _settings(tmp_path, f'data={{name: image_folder, root: {tmp_path / "images"}, batch_size: 4}}')
    monkeypatch.setattr(assembly, 'device', lambda settings: 'meta')
    assert next(iter(assembly.make_data(settings).train_dataloader())).images.device.type == 'cpu'
