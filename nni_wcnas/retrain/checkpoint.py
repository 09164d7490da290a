"""The checkpoint of a retraining: written after each epoch, and compared with what is asked for before a resume."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

import pytorch_lightning as pl
from torch import nn

from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.interruption import interrupted
from nni_wcnas.retrain.recipe import RetrainingRecipe
from nni_wcnas.retrain.step import RetrainData, Retraining
from nni_wcnas.spaces.architecture import Architecture
from nni_wcnas.tensor_file import TensorFileError, read_tensors

__all__ = ['CheckpointWriter', 'RetrainingError', 'identity_of', 'read_checkpoint', 'restore']

_FORMAT = 'nni_wcnas retraining 1'
_TOLD_BY_SHAPES = ('channels', 'cells', 'stem', 'max_macs')
"""Numbers of the recipe that make the network; they are compared by the shapes of its weights instead."""


class RetrainingError(ValueError):
    """A checkpoint cannot be resumed; the message is one sentence that names the file, the reason and the remedy."""


class CheckpointWriter(pl.Callback):
    """Lightning callback that keeps the history of the epochs and, if there is a run folder, the checkpoint.

    Parameters
    ----------
    history
        Rows of earlier epochs; later ones are appended.
    run
        The run folder to write to; None writes nothing.
    identity
        What the weights depend on, as :func:`identity_of` gives it.
    """

    def __init__(self, history: list[dict[str, float]], run: RunDirectory | None, identity: dict[str, Any]):
        self.history = history
        self.run = run
        self.identity = identity
        self.interruption: KeyboardInterrupt | None = None

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Remember Ctrl-C and SIGTERM, which Lightning turns into an exit."""
        self.interruption = interrupted(exception)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch; the checkpoint first, so that the table never runs ahead of it."""
        module = cast(Retraining, pl_module)
        self.history.append(module.epoch_record())
        # All processes hold the same weights, and the first one's running averages count: it writes for all.
        if self.run is not None and trainer.is_global_zero:
            state = {'format': _FORMAT, 'identity': self.identity, 'history': self.history,
                     'network': module.network.state_dict(), 'optimizer': trainer.optimizers[0].state_dict()}
            # Readers evaluate 'network' and know nothing of averages; 'moving' holds the weights that go on training.
            if module.average is not None:
                state |= {'network': module.average.module.state_dict(), 'moving': state['network']}
            # A kill between the two writes leaves a table without the last row, which the resumed training adds.
            self.run.write_checkpoint(state)
            self.run.write_history(self.history)


def identity_of(architecture: Architecture | nn.Module, network: nn.Module, data: RetrainData, recipe: RetrainingRecipe,
                part: str, devices: int = 1) -> dict[str, Any]:
    """Return all that the trained weights depend on, in plain values; it is compared before a resume.

    The number of devices is part of it: each takes batch norm's statistics of its own share of a batch, and draws its
    own dropped paths.
    """
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    cells = architecture.sample if isinstance(architecture, Architecture) else type(architecture).__qualname__
    numbers = {name: value for name, value in asdict(recipe).items() if name not in _TOLD_BY_SHAPES}
    return {
        # Two architectures with equal cells but another width or depth differ in the shapes of their weights.
        'architecture': json.dumps([cells, shapes], sort_keys=True), 'part': part, 'devices': devices, **numbers,
        **{f'data.{name}': value for name, value in _identity_of_data(data).items()},
    }


def _identity_of_data(data: RetrainData) -> dict[str, Any]:
    """Return what tells one data set from another, in plain values; None for what the data do not say.

    The names of the classes are in order, as a network knows a class by its number.
    """
    told = {name: getattr(data, name, None) for name in ('name', 'seed', 'batch_size', 'num_classes', 'image_size')}
    names, indices = getattr(data, 'class_names', None), getattr(data, 'train_indices', None)
    return {**told, 'class_names': None if names is None else list(names),
            'examples': None if indices is None else len(indices)}


def read_checkpoint(run: RunDirectory | None, resume: bool, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the checkpoint of a run and compare it with what is asked for.

    Parameters
    ----------
    run
        The run folder; None for a training that keeps no files.
    resume
        Whether a checkpoint may be there to go on from.
    identity
        What the training depends on, as :func:`identity_of` gives it.

    Returns
    -------
    dict or None
        The checkpoint; None where there is none.

    Raises
    ------
    RetrainingError
        If there is one and ``resume`` is False, or it is damaged or of another training.
    """
    if run is None or not run.checkpoint.exists():
        return None
    path = run.checkpoint
    if not resume:
        raise RetrainingError(f'{path} exists: pass resume=True to go on from it, or give another directory')
    try:
        state = read_tensors(path, 'delete it to start again')
    except TensorFileError as error:
        raise RetrainingError(str(error)) from error
    if not isinstance(state, dict) or state.get('format') != _FORMAT:
        raise RetrainingError(f'{path} is not the checkpoint of a retraining: give another directory')
    earlier = state['identity']
    if earlier['architecture'] != identity['architecture']:
        raise RetrainingError(f'{path} is of another architecture: give the same one, or another directory')
    for key, value in identity.items():
        if earlier.get(key) != value:
            raise RetrainingError(f'{path} was made with {key}={earlier.get(key)!r}, not {value!r}: '
                                  'give the same, or another directory')
    return state


def restore(module: Retraining, state: Mapping[str, Any]) -> None:
    """Give a training the weights, the moving average and the optimiser's state of a checkpoint."""
    module.network.load_state_dict(state.get('moving', state['network']))
    module.optimizer_state = state['optimizer']  # Loaded when Lightning asks for the optimiser.
    if module.average is not None:
        module.average.module.load_state_dict(state['network'])
