"""What several tests share: a quiet, reproducible NNI search of a few steps."""

import logging

import pytest
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from tiny_data import DARTS_V2, TinyData
from torch.utils.data import TensorDataset

from nni_wcnas.spaces.architecture import Architecture

QUIET = {
    'logger': False,
    'enable_checkpointing': False,
    'enable_progress_bar': False,
    'enable_model_summary': False,
    'num_sanity_val_steps': 0,
    'accelerator': 'cpu',
}


@pytest.fixture(scope='session', autouse=True)
def _quiet_and_one_thread():
    logging.getLogger('nni').setLevel(logging.ERROR)
    logging.getLogger('pytorch_lightning').setLevel(logging.ERROR)
    torch.set_num_threads(1)  # the networks are tiny: more threads only wait for each other


@pytest.fixture
def search():
    """Run a strategy on a space with NNI's stock evaluator; returns the strategy."""

    def run(
        strategy,
        space,
        *,
        images=12,
        size=8,
        classes=10,
        batch_size=4,
        epochs=1,
        optimizer=torch.optim.SGD,
        learning_rate=0.05,
        **trainer,
    ):
        x, y = torch.randn(images, 3, size, size), torch.randint(classes, (images,))
        halves = (
            DataLoader(TensorDataset(x, y), batch_size=batch_size),
            DataLoader(TensorDataset(x.flip(0), y.flip(0)), batch_size=batch_size),
        )
        evaluator = Classification(
            learning_rate=learning_rate,
            optimizer=optimizer,
            train_dataloaders=halves[0],
            val_dataloaders=halves[1],
            num_classes=classes,
            max_epochs=epochs,
            **{**QUIET, **trainer},
        )
        strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())
        return strategy

    return run


@pytest.fixture
def architecture():
    return Architecture.from_genotype(DARTS_V2)


@pytest.fixture
def tiny():
    return TinyData
