"""Several devices: how a batch is shared out, that a training is the one of a single device, and what ends it."""

import hashlib
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.multiprocessing.spawn import ProcessExitedException

from nni_wcnas.data import DataError, Digits
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.network.cell_network import CellNetwork
from nni_wcnas.retrain.devices import check_devices
from nni_wcnas.retrain.retraining import Retraining, RetrainingError, RetrainingRecipe, retrain

QUICK = {'accelerator': 'cpu', 'progress': False}
SMALL = {**QUICK, 'epochs': 2, 'channels': 2, 'cells': 3}


class Plain(nn.Module):
    """Without batch norm or drop path; a layer is not used, as where a cell leaves an input alone."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten())
        self.classifier, self.unused = nn.Linear(392, 10), nn.Linear(3, 3)
        self.auxiliary = nn.Linear(392, 10)

    def forward(self, images):
        features = self.features(images)
        return (self.classifier(features), self.auxiliary(features)) if self.training else self.classifier(features)


def digits(**changes):
    return Digits(**{'limit': 151, 'batch_size': 33, 'cutout': 4, **changes})


def weights(network):
    return torch.cat([value.detach().double().flatten() for value in network.state_dict().values()])


def plain(seed=0):
    torch.manual_seed(seed)
    return Plain()


@pytest.mark.parametrize(('devices', 'changes'), [
    (2, {}), (3, {}), (2, {'crop': 'resized', 'color_jitter': 0.4, 'auto_augment': 'rand-m9-mstd0.5'})])
def test_shares_are_the_batch(devices, changes):
    """Bit for bit, augmentation included; neither the data nor their other loaders notice."""
    data = digits(**changes)
    shares = [data.shared_out(rank, devices) for rank in range(devices)]
    for epoch in (0, 3):
        for each in (data, *shares):
            each.set_epoch(epoch)
        for loader in ('full_train_dataloader', 'train_dataloader'):
            whole, *parts = [list(getattr(each, loader)()) for each in (data, *shares)]
            for batch, *split in zip(whole, *parts, strict=True):
                sizes = [len(part.labels) for part in split]
                assert max(sizes) - min(sizes) <= 1 and min(sizes) > 1
                for mine, *theirs in zip(batch, *split, strict=True):
                    assert torch.equal(mine, torch.cat(theirs))
    assert len(next(iter(shares[0].evaluation_dataloader('test'))).labels) == 33


def test_no_device_is_left_one_example():
    """65 = 2 x 31 + 3, and of 3 examples a second device would get one."""
    data = Digits(limit=65, batch_size=31)
    sizes = [[len(batch.labels) for batch in data.shared_out(rank, 2).full_train_dataloader()] for rank in (0, 1)]
    assert [len(batch.labels) for batch in data.full_train_dataloader()] == [31, 31, 3]
    assert [first + second for first, second in zip(*sizes, strict=True)] == [31, 34]


@pytest.mark.parametrize(
    ('devices', 'change', 'message'),
    [
        (0, {}, 'devices is 0: give at least 1'),
        (torch.cuda.device_count() + 2, {'accelerator': 'auto'}, 'but the GPUs here are .: give fewer, or acc'),
        (20, {}, 'A batch of 33 examples is too small for batch normalisation on 20 devices; use at least 40'),
    ],
)
def test_refused_before_anything_is_written(architecture, tmp_path, devices, change, message):
    error = DataError if devices == 20 else ValueError
    with pytest.raises(error, match=message):
        retrain(architecture, digits(), directory=tmp_path, devices=devices, **{**SMALL, **change})
    assert not list(tmp_path.iterdir())


def test_data_that_cannot_be_shared_out(tiny):
    check_devices(1, 'cpu', tiny())
    with pytest.raises(ValueError, match='the data have no shared_out to share a batch out by: give data with it'):
        check_devices(2, 'cpu', tiny())


def test_networks_without_an_importable_class():
    class Local(Plain):
        pass

    with pytest.raises(ValueError, match="cannot be pickled .*Local.*: define their classes at the top of a module"):
        retrain(Local(), digits(), epochs=1, devices=2, **QUICK)


def test_each_device_draws_its_own(tiny, monkeypatch):
    """Dropped paths and starts of attacks; the first device draws what a single one does."""
    module = Retraining(plain(), tiny(), RetrainingRecipe())
    seeds = []
    for rank in (0, 1, 2):
        monkeypatch.setattr(Retraining, 'global_rank', rank)
        seeds.append(module._seed(5))
    assert seeds[0] == 5 and len(set(seeds)) == 3


def digits_of(images):
    """A number for each image to know it by."""
    return [round(total) for total in images.double().sum((1, 2, 3)).mul(1e3).tolist()]


class Watched(CellNetwork):
    """Appends to a file of its process what it is shown in training, and a digest of its weights at that moment."""

    folder = ''

    def forward(self, images):
        if self.training:
            digest = hashlib.sha256(b''.join(weight.detach().numpy().tobytes() for weight in self.parameters()))
            with (Path(self.folder) / f'{torch.distributed.get_rank()}.txt').open('a') as file:
                print(digest.hexdigest(), multiprocessing.get_start_method(), *digits_of(images), file=file)
        return super().forward(images)


class Deadly(Digits):
    """The second process meets an error, or its end, in the second epoch."""

    error: Exception | None = None
    rank = 0

    def shared_out(self, rank, devices):
        shared = super().shared_out(rank, devices)
        shared.rank = rank
        return shared

    def set_epoch(self, epoch):
        super().set_epoch(epoch)
        if self.rank == 1 and epoch == 1:
            if self.error is not None:
                raise self.error
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize('numbers', [{}, {'optimizer': 'nesterov', 'ema_decay': 0.8}], ids=str)
def test_two_are_one(tmp_path, numbers):
    """Without batch norm the same weights, history and average; 151 examples do not share out evenly."""
    quick = {**QUICK, 'epochs': 3, 'lr': 0.1, 'gradient_clip_val': 0.5, 'label_smoothing': 0.1, **numbers}
    one = retrain(plain(), digits(), **quick)
    network = plain()
    two = retrain(network, digits(), directory=tmp_path, devices=2, **quick)
    assert two.network is network and not network.training
    torch.testing.assert_close(weights(two.network), weights(one.network), rtol=0, atol=2e-6)
    assert (weights(one.network) - weights(plain())).abs().max() > 0.01
    for mine, other in zip(two.history, one.history, strict=True):
        assert mine == pytest.approx(other, rel=1e-5)
    assert RunDirectory(tmp_path).read_history() == two.history


@pytest.mark.slow
def test_cells_on_two_devices(architecture, tmp_path):
    """Each image of an epoch is shown once, to one of two networks whose weights are the same bits at every step."""
    network, data = Watched(architecture, 2, 3, 10), digits(augment=False, cutout=0, num_workers=1)
    network.folder = str(tmp_path)
    numbers = {**SMALL, 'drop_path': 0.5, 'precision': 'bf16-mixed', 'ema_decay': 0.5, 'devices': 2}
    trained = retrain(network, data, **numbers)
    assert [row['epoch'] for row in trained.history] == [0, 1]
    lines = [[line.split() for line in (tmp_path / f'{rank}.txt').read_text().splitlines()] for rank in (0, 1)]
    digests = [[line[0] for line in each] for each in lines]
    assert digests[0] == digests[1] and len(set(digests[0])) == len(digests[0]) == 2 * 5
    expected = sorted(each for batch in data.evaluation_dataloader('train') for each in digits_of(batch.images))
    for epoch in (slice(0, 5), slice(5, 10)):
        assert sorted(int(total) for each in lines for line in each[epoch] for total in line[2:]) == expected
    assert {line[1] for each in lines for line in each} == {multiprocessing.get_start_method()}  # Of data loaders.


@pytest.mark.slow
def test_what_a_process_meets(architecture, tmp_path):
    """An error of the second process is told as if it were this one's; its end ends the other."""
    data = Deadly(limit=60, batch_size=30)
    data.error = DataError('The image a.png cannot be read; replace it.')
    with pytest.raises(DataError, match='^The image a.png cannot be read; replace it.$'):
        retrain(architecture, data, directory=tmp_path, devices=2, **SMALL)
    data.error = None
    with pytest.raises(ProcessExitedException, match='process 1 terminated with signal SIGKILL'):
        retrain(architecture, data, directory=tmp_path, devices=2, resume=True, **SMALL)
    assert not multiprocessing.active_children()
    with pytest.raises(RetrainingError, match='last.ckpt was made with devices=2, not 1: give the same'):
        retrain(architecture, data, directory=tmp_path, resume=True, **SMALL)
