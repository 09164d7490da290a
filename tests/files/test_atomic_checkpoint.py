"""The checkpoint of a search stays whole on a disk of its own that fills up."""

from __future__ import annotations

import errno
import os

import pytest
import pytorch_lightning as pl
import torch
from small_disk import small_disk

import nni_wcnas as wc
from nni_wcnas.files.atomic_checkpoint import AtomicCheckpointIO
from nni_wcnas.tensor_file import read_tensors


class Growing(pl.LightningModule):
    """A module whose checkpoint outgrows the disk."""

    def __init__(self):
        super().__init__()
        self.register_buffer('size', torch.ones(10))


def trainer(folder):
    return pl.Trainer(plugins=[AtomicCheckpointIO()], logger=False, enable_checkpointing=False, default_root_dir=folder,
                      accelerator='cpu')


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    with small_disk(tmp_path) as folder:
        path = folder / 'checkpoints' / 'last.ckpt'
        module, run = Growing(), trainer(folder)
        run.strategy.connect(module)
        run.save_checkpoint(path)
        module.size = torch.zeros(500_000)  # Two megabytes.
        with pytest.raises(OSError) as caught:
            run.save_checkpoint(path)
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
        assert read_tensors(path, 'none')['state_dict']['size'].tolist() == [1.0] * 10
        assert os.listdir(path.parent) == ['last.ckpt']


def test_a_search_writes_its_checkpoints_so(tmp_path):
    evaluator = wc.SearchEvaluator(wc.data.Digits(limit=64), checkpoint_directory=tmp_path)
    assert isinstance(evaluator.trainer.strategy.checkpoint_io, AtomicCheckpointIO)
