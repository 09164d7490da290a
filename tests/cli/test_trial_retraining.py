"""The retraining of a trial: every number of its section acts, and what cannot be retrained is told in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from nni_wcnas.cli.evaluate import find_retraining
from nni_wcnas.cli.search import Found
from nni_wcnas.cli.trial import judge
from nni_wcnas.data.reference import reference_models
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.network.cell_network import CellNetwork
from nni_wcnas.settings import assembly
from nni_wcnas.settings.problems import CommandError
from nni_wcnas.settings.resolved import resolved
from nni_wcnas.settings.settings import load_settings
from nni_wcnas.spaces import published
from nni_wcnas.spaces.architecture import load_architecture

SMALL = '{recipe: adversarial, epochs: 1, channels: 4, cells: 3, %s}'


@pytest.fixture
def judged(settings_file: Path, tmp_path: Path) -> Any:
    """Retrain a published cell as a trial would, with these numbers too; the run."""

    def judge_with(numbers: str, name: str = 'run') -> RunDirectory:
        settings = load_settings(settings_file, [f'retrain={SMALL % numbers}', 'seed=3', 'device=cpu'])
        run, data = RunDirectory(tmp_path / name), assembly.make_data(settings)
        architecture = published.load('darts_v2')
        run.write_settings(resolved(settings))
        run.write_architecture(architecture)
        judge(settings, run, Found(architecture, [], data, reference_models(data, progress=False)))
        return run

    return judge_with


def test_numbers_act(judged: Any) -> None:
    run = judged('ema_decay: 0.5, optimizer: adamw, lr: 0.001, label_smoothing: 0.1, stem: imagenet')
    state = torch.load(run.path / 'retraining' / 'checkpoints' / 'last.ckpt', weights_only=True)
    expected = {'drop_path': 0.3, 'adversarial_steps': 7, 'ema_decay': 0.5, 'optimizer': 'adamw',
                'lr': 0.001, 'label_smoothing': 0.1, 'epochs': 1, 'seed': 3}
    assert expected.items() <= state['identity'].items() and state['identity']['part'] == 'weights'
    assert 'moving' in state and 'exp_avg_sq' in state['optimizer']['state'][0]
    inner = find_retraining(run)  # What is evaluated has the stem that was trained.
    CellNetwork(load_architecture(inner.architecture), 4, 3, 10, True).load_state_dict(state['network'])
    assert load_architecture(run.architecture).arguments.get('stem', 'cifar') == 'cifar'


def test_too_large_a_cell(judged: Any) -> None:
    with pytest.raises(CommandError, match='more than max_macs=10 allows: lower channels or cells, or give max_macs=0'):
        judged('max_macs: 10')
