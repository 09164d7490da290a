"""A run's files come back as they went, and a resume replaces rows."""

import math

import pytest
import torch

from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.page.run_pictures import write_architecture, write_generated


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / 'experiment' / 'trial')


def test_nothing_is_made_before_it_is_written(run):
    assert run.read_settings() == {}
    assert run.read_history() == []
    assert run.read_measures() == {}
    assert run.read_architecture() is None
    assert run.generated() == {}
    assert not run.path.exists()
    assert repr(run).startswith("RunDirectory('")


def test_history_comes_back_to_the_bit(run):
    rows = [
        {'epoch': 0, 'loss_A': 1 / 3, 'skips': 2.0},
        {'epoch': 1, 'loss_A': 1e-17, 'lr': torch.tensor(0.5)},
        {'epoch': 2, 'loss_W': math.inf},
    ]
    run.write_history(rows)
    assert run.metrics.read_text().splitlines()[0] == 'epoch,loss_A,skips,lr,loss_W'
    assert run.read_history() == [
        {'epoch': 0, 'loss_A': 1 / 3, 'skips': 2.0},
        {'epoch': 1, 'loss_A': 1e-17, 'lr': 0.5},
        {'epoch': 2, 'loss_W': math.inf},
    ]


def test_a_resume_replaces_rows(run):
    run.write_history([{'epoch': epoch, 'loss': 1.0} for epoch in range(5)])
    resumed = [{'epoch': epoch, 'loss': 1.0} for epoch in range(3)] + [
        {'epoch': 2, 'loss': 2.0},
        {'epoch': 3, 'loss': 3.0},
    ]
    run.write_history(resumed)
    assert run.read_history() == [
        {'epoch': 0, 'loss': 1.0},
        {'epoch': 1, 'loss': 1.0},
        {'epoch': 2, 'loss': 2.0},
        {'epoch': 3, 'loss': 3.0},
    ]
    assert [path.name for path in run.path.iterdir()] == ['metrics.csv']


def test_settings_are_plain_yaml(run, tmp_path):
    run.write_settings(
        {
            'seed': 3,
            'torch': torch.__version__,
            'folder': tmp_path,
            'search': {'sizes': (1, 2)},
            'name': 'Ä',
            'rate': torch.tensor(0.5),
        }
    )
    assert run.read_settings() == {
        'seed': 3,
        'torch': str(torch.__version__),
        'folder': str(tmp_path),
        'search': {'sizes': [1, 2]},
        'name': 'Ä',
        'rate': 0.5,
    }
    assert '!!' not in run.settings.read_text()
    assert 'Ä' in run.settings.read_text(encoding='utf-8')


def test_architecture_with_its_drawings(run, architecture):
    write_architecture(run, architecture)
    assert run.read_architecture() == architecture
    assert sorted(path.name for path in run.path.iterdir()) == [
        'architecture.json',
        'cell_normal.svg',
        'cell_reduce.svg',
    ]


def test_generated_by_epoch(run):
    for epoch in (12, 3, 100_000):
        write_generated(run, epoch, torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]))
    (run.path / 'generated' / 'epoch_last.png').touch()
    assert list(run.generated()) == [3, 12, 100_000]
    assert run.generated()[3].name == 'epoch_0003.png'


def test_measures(run):
    run.write_measures({'accuracy': 0.25, 'parameters': torch.tensor(7)})
    assert run.read_measures() == {'accuracy': 0.25, 'parameters': 7}


def test_checkpoint_needs_no_pickled_code(run):
    run.write_checkpoint({'weights': {'w': torch.ones(2)}, 'epoch': 3})
    assert torch.load(run.checkpoint, weights_only=True)['epoch'] == 3
