"""Retraining: each argument does what it claims, and an interrupted training ends in the same bits."""

import csv
import math
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from tiny_data import DARTS_V2, TinyData
from torch import nn

from nni_wcnas.data import Digits
from nni_wcnas.network.cell_network import CellNetwork, DropPath
from nni_wcnas.retrain.retraining import RetrainingError, RetrainingRecipe, retrain
from nni_wcnas.spaces.architecture import Architecture

QUICK = {'epochs': 2, 'channels': 2, 'cells': 3, 'accelerator': 'cpu', 'progress': False}


def weights(result):
    return torch.cat([value.double().flatten() for value in result.network.state_dict().values()])


@pytest.fixture(scope='module')
def baseline():
    return weights(retrain(Architecture.from_genotype(DARTS_V2), TinyData(), **QUICK))


def test_repeats_bit_for_bit(architecture, tiny, baseline):
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(weights(retrain(architecture, tiny(), **QUICK)), baseline)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    'change',
    [
        {'lr': 0.1},
        {'min_lr': 0.02},
        {'momentum': 0.5},
        {'weight_decay': 0.1},
        {'gradient_clip_val': 0.1},
        {'gradient_clip_val': 0.0},
        {'auxiliary_weight': 0.1},
        {'drop_path': 0.0},
        {'seed': 1},
        {'part': 'weights'},
        {'epochs': 3},
    ],
    ids=str,
)
def test_every_argument_matters(architecture, tiny, baseline, change):
    changed = weights(retrain(architecture, tiny(), **{**QUICK, **change}))
    assert changed.shape == baseline.shape
    assert not torch.equal(changed, baseline)


@pytest.mark.parametrize('change', [{'channels': 4}, {'cells': 4}, {'auxiliary_weight': 0.0}], ids=str)
def test_arguments_of_the_network(architecture, tiny, baseline, change):
    assert weights(retrain(architecture, tiny(), **{**QUICK, 'epochs': 1, **change})).shape != baseline.shape


def test_one_step_by_hand(tiny):
    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, images):
            return self.layer(images.mean(dim=(2, 3)))

    network, data = Line(), tiny(batches=1)
    reference = Line()
    reference.load_state_dict(network.state_dict())
    batch = data.batch(1, 0, 0)
    nn.functional.cross_entropy(reference(batch.images), batch.labels).backward()
    norm = nn.utils.clip_grad_norm_(reference.parameters(), 0.01)
    assert norm > 0.01
    torch.optim.SGD(reference.parameters(), 0.5, 0.9, weight_decay=0.1).step()
    trained = retrain(network, data, **{**QUICK, 'epochs': 1}, lr=0.5, weight_decay=0.1, gradient_clip_val=0.01).network
    assert trained is network
    for mine, other in zip(trained.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_rates_by_epoch(architecture, tiny):
    history = retrain(
        architecture, tiny(batches=1), **{**QUICK, 'epochs': 4}, lr=0.1, min_lr=0.02, drop_path=0.4
    ).history
    assert [row['epoch'] for row in history] == [0, 1, 2, 3]
    assert [row['drop_path'] for row in history] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert [row['lr'] for row in history] == pytest.approx(
        [0.02 + 0.04 * (1 + math.cos(math.pi * e / 4)) for e in range(4)]
    )


def test_network_sees_the_ramp(architecture, tiny):
    network = CellNetwork(architecture, 2, 3, 3)
    seen = []
    drop = next(module for module in network.modules() if isinstance(module, DropPath))
    network.register_forward_pre_hook(lambda module, inputs: seen.append(drop.probability))
    retrain(network, tiny(batches=1), **QUICK, drop_path=0.5)
    assert seen == [0.0, 0.25]


def test_hub_networks_get_the_ramp_too(tiny):
    class Hub(nn.Sequential):
        seen = ()

        def set_drop_path_prob(self, probability):
            self.seen += (probability,)

    network = Hub(nn.Flatten(), nn.Linear(192, 3))
    retrain(network, tiny(batches=1), **QUICK, drop_path=0.5)
    assert network.seen == (0.0, 0.25)


def test_batches_of_each_epoch_once(architecture, tiny):
    data = tiny()
    retrain(architecture, data, **QUICK)
    assert data.asked == [(1, epoch, number) for epoch in range(2) for number in range(3)]


def test_is_quiet(architecture, tiny, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        retrain(architecture, tiny(batches=1), **{**QUICK, 'epochs': 1})
    assert capfd.readouterr() == ('', '')


def test_learns_real_digits(architecture):
    data = Digits(limit=200, batch_size=20, augment=False)
    history = retrain(
        architecture, data, epochs=4, channels=4, cells=3, lr=0.1, drop_path=0.0, accelerator='cpu', progress=False
    ).history
    assert history[-1]['accuracy'] > 0.5 > history[0]['accuracy']


KILLED = """
import os, signal, sys
sys.path.insert(0, {folder!r})
import torch
from tiny_data import DARTS_V2, TinyData
from nni_wcnas.retrain.retraining import retrain
from nni_wcnas.spaces.architecture import Architecture

torch.set_num_threads({threads})  # as many as the process that resumes it: the bits depend on them

class Deadly(TinyData):
    def batch(self, *key):
        if key == (1, 2, 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch(*key)

retrain(Architecture.from_genotype(DARTS_V2), Deadly(), directory={run!r}, **{quick!r})
"""


def test_killed_and_resumed_ends_in_the_same_bits(architecture, tiny, tmp_path):
    quick = {**QUICK, 'epochs': 4}
    code = KILLED.format(folder=str(Path(__file__).parents[1]), run=str(tmp_path / 'killed'), quick=quick,
                         threads=torch.get_num_threads())
    assert subprocess.run([sys.executable, '-W', 'ignore', '-c', code], check=False).returncode == -signal.SIGKILL
    checkpoint = torch.load(tmp_path / 'killed' / 'checkpoints' / 'last.ckpt', weights_only=True)
    assert [row['epoch'] for row in checkpoint['history']] == [0, 1]
    data = tiny()
    resumed = retrain(architecture, data, directory=tmp_path / 'killed', resume=True, **quick)
    assert data.asked[0] == (1, 2, 0)
    whole = retrain(architecture, tiny(), directory=tmp_path / 'whole', **quick)
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.history == whole.history
    assert (tmp_path / 'killed' / 'metrics.csv').read_text() == (tmp_path / 'whole' / 'metrics.csv').read_text()
    with (tmp_path / 'killed' / 'metrics.csv').open() as file:
        assert [row['epoch'] for row in csv.DictReader(file)] == ['0', '1', '2', '3']


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A checkpoint of one finished epoch."""
    folder = tmp_path_factory.mktemp('finished')
    result = retrain(
        Architecture.from_genotype(DARTS_V2), TinyData(batches=1), directory=folder, **{**QUICK, 'epochs': 1}
    )
    return result, (folder / 'checkpoints' / 'last.ckpt').read_bytes()


@pytest.fixture
def folder(finished, tmp_path):
    (tmp_path / 'checkpoints').mkdir()
    (tmp_path / 'checkpoints' / 'last.ckpt').write_bytes(finished[1])
    return tmp_path


def resume(architecture, data, folder, **changes):
    return retrain(architecture, data, directory=folder, resume=True, **{**QUICK, 'epochs': 1, **changes})


def test_a_finished_training_is_only_read(architecture, tiny, folder, finished):
    data = tiny(batches=1)
    result = resume(architecture, data, folder)
    assert torch.equal(weights(result), weights(finished[0]))
    assert data.asked == []
    assert not result.network.training


def test_a_truncated_checkpoint_is_refused(architecture, tiny, folder):
    path = folder / 'checkpoints' / 'last.ckpt'
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(RetrainingError, match='last.ckpt is damaged, was cut short.*; delete it'):
            resume(architecture, tiny(batches=1), folder)


def test_pickled_code_is_refused(architecture, tiny, folder):
    torch.save({'format': RetrainingRecipe()}, folder / 'checkpoints' / 'last.ckpt')
    with pytest.raises(RetrainingError, match='last.ckpt is damaged'):
        resume(architecture, tiny(batches=1), folder)


def test_another_kind_of_checkpoint_is_refused(architecture, tiny, folder):
    torch.save({'state_dict': {}}, folder / 'checkpoints' / 'last.ckpt')
    with pytest.raises(RetrainingError, match='is not the checkpoint of a retraining'):
        resume(architecture, tiny(batches=1), folder)


def test_another_architecture_is_refused(architecture, tiny, folder):
    # The same shapes, wired otherwise: only the sample tells.
    sample = {**architecture.sample, 'normal/input_4_0': [0], 'normal/input_4_1': [1]}
    other = Architecture('darts', sample, architecture.operations)
    with pytest.raises(
        RetrainingError, match='last.ckpt is of another architecture: give the same one, or another directory'
    ):
        resume(other, tiny(batches=1), folder)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'channels': 4}, 'of another architecture'),
        ({'lr': 0.1}, r'made with lr=0.025, not 0.1: give the same'),
        ({'epochs': 2}, 'made with epochs=1, not 2'),
        ({'seed': 5}, 'made with seed=0, not 5'),
        ({'part': 'weights'}, "made with part='train', not 'weights'"),
    ],
)
def test_another_recipe_is_refused(architecture, tiny, folder, change, message):
    with pytest.raises(RetrainingError, match=message):
        resume(architecture, tiny(batches=1), folder, **change)


def test_other_data_are_refused(architecture, tiny, folder):
    with pytest.raises(RetrainingError, match='made with data.seed=0, not 1'):
        resume(architecture, tiny(seed=1, batches=1), folder)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        # As many classes and examples, in another order: a network knows them by number.
        ({'class_names': ('dog', 'cat', 'owl')}, r"made with data.class_names=\['cat', 'dog', 'owl'\], not"),
        ({'train_indices': torch.arange(12)}, 'made with data.examples=18, not 12'),
        ({'image_size': 16}, 'made with data.image_size=8, not 16'),
    ],
)
def test_data_of_the_same_name_are_told_apart(architecture, tiny, tmp_path, change, message):
    class Told(tiny):
        class_names, image_size, train_indices = ('cat', 'dog', 'owl'), 8, torch.arange(18)

    retrain(architecture, Told(batches=1), directory=tmp_path, **{**QUICK, 'epochs': 1})
    other = Told(batches=1)
    vars(other).update(change)
    with pytest.raises(RetrainingError, match=message):
        resume(architecture, other, tmp_path)
    resume(architecture, Told(batches=1), tmp_path)


def test_a_checkpoint_is_never_overwritten_by_accident(architecture, tiny, folder):
    with pytest.raises(RetrainingError, match='exists: pass resume=True'):
        retrain(architecture, tiny(), directory=folder, **QUICK)


def test_resume_without_a_checkpoint_starts(architecture, tiny, tmp_path, baseline):
    assert torch.equal(weights(retrain(architecture, tiny(), directory=tmp_path, resume=True, **QUICK)), baseline)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'epochs': 0}, 'epochs must be a finite number from 1 on, not 0'),
        ({'lr': -1.0}, 'lr must be a finite number .*, not -1.0'),
        ({'lr': float('nan')}, 'lr must be a finite number .*, not nan'),
        ({'drop_path': 1.0}, 'drop_path must be from 0 to below 1, not 1.0'),
        ({'lr': 0.1, 'min_lr': 0.2}, r'min_lr=0.2 is above lr \(0.1\), so the rate would rise; lower it'),
        ({'momentum': 1.0}, 'momentum must be from 0 to below 1, not 1.0'),
        ({'part': 'test'}, "part is 'test': give 'train' or 'weights'"),
        ({'resume': True}, 'there is no directory to resume from'),
    ],
)
def test_errors(architecture, tiny, change, message):
    with pytest.raises(ValueError, match=message):
        retrain(architecture, tiny(), **{**QUICK, **change})


@pytest.mark.filterwarnings('ignore:Total length')
def test_no_batches(architecture, tiny):
    with pytest.raises(ValueError, match="part 'train' of the data has no batches"):
        retrain(architecture, tiny(batches=0), **QUICK)
