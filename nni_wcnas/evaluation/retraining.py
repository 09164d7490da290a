"""Train a found architecture from scratch, as the papers do, to the same bits whether or not it was interrupted.

Learning rate, drop path, batches and random state are functions of the epoch and of the seeds. So a checkpoint need
only hold the weights, the momentum buffers and the history, and an interrupted training goes on from the last whole
epoch as if nothing had happened. Lightning's own resume is not used: it saves an epoch before the schedule moved on.

The same bits need the same CPU and number of threads. Deviation from the papers' code: no epoch looks at test data;
measure the result with :func:`nni_wcnas.evaluation.measures.measure`.
"""

from __future__ import annotations

import json
import logging
import math
import os
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nni_wcnas.contracts import Batch
from nni_wcnas.evaluation.network import CellNetwork
from nni_wcnas.evaluation.recording import RunDirectory
from nni_wcnas.spaces.architecture import Architecture

__all__ = ['Recipe', 'RetrainData', 'Retrained', 'Retraining', 'RetrainingError', 'retrain']

_FORMAT = 'nni_wcnas retraining 1'


class RetrainingError(ValueError):
    """A checkpoint cannot be resumed. One sentence: what, where, and the remedy."""


class RetrainData(Protocol):
    """What a retraining asks of its data; batches may depend on a seed and the epoch only."""

    num_classes: int

    def full_train_dataloader(self) -> Iterable[Batch]:
        """Augmented batches of the whole training set."""

    def train_dataloader(self) -> Iterable[Batch]:
        """Augmented batches of the half that trained the supernet's weights."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next."""


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are DARTS's for CIFAR-10.

    Parameters
    ----------
    epochs
        Passes over the data.
    lr, min_lr
        Learning rate of the first epoch, and what its cosine would reach after the last.
    momentum, weight_decay
        Of SGD.
    gradient_clip
        Largest norm of the gradient; 0 for no limit.
    auxiliary_weight
        Of the auxiliary tower's loss; 0 for no tower.
    drop_path
        What the chance of dropping a path would reach after the last epoch; it grows linearly from 0.
    seed
        Of the initial weights and of drop path.
    """

    epochs: int = 600
    lr: float = 0.025
    min_lr: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 3e-4
    gradient_clip: float = 5.0
    auxiliary_weight: float = 0.4
    drop_path: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f'epochs is {self.epochs}: give at least 1')
        if not 0 <= self.drop_path < 1:
            raise ValueError(f'drop_path is {self.drop_path}, but it is a chance: give a number from 0 to below 1')
        if self.momentum >= 1:
            raise ValueError(f'momentum is {self.momentum}: give a number from 0 to below 1')
        for name in ('lr', 'min_lr', 'momentum', 'weight_decay', 'gradient_clip', 'auxiliary_weight'):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f'{name} is {value}: give a finite number that is not negative')
        if self.min_lr > self.lr:
            raise ValueError(f'min_lr is {self.min_lr}, above lr ({self.lr}), so the rate would rise: lower it')

    def lr_at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        return self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(math.pi * epoch / self.epochs)) / 2

    def drop_path_at(self, epoch: int) -> float:
        """Chance of dropping a path in an epoch, counted from 0."""
        return self.drop_path * epoch / self.epochs


class Retraining(pl.LightningModule):
    """SGD with everything that changes set at the start of each epoch.

    Parameters
    ----------
    network
        Maps images to logits or, in training, to a pair of logits, the second an auxiliary tower's.
    data
        Told each epoch before its batches are fetched.
    recipe
        How to train.
    """

    def __init__(self, network: nn.Module, data: RetrainData, recipe: Recipe):
        super().__init__()
        self.network = network
        self.data = data
        self.recipe = recipe
        self.optimizer_state: dict[str, Any] | None = None
        """Set before fitting to go on with earlier momentum buffers."""
        self._totals = torch.zeros(3)  # Loss times examples, correct ones, examples.

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build SGD; its learning rate is set at the start of each epoch."""
        recipe = self.recipe
        optimizer = torch.optim.SGD(
            self.network.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
        return optimizer

    def on_train_epoch_start(self) -> None:
        """Set what depends on the epoch."""
        epoch = self.current_epoch
        self.data.set_epoch(epoch)
        torch.manual_seed(_epoch_seed(self.recipe.seed, epoch + 1))  # Drop path draws from it. 0 was the network's.
        _set_drop_path(self.network, self.recipe.drop_path_at(epoch))
        for group in self.optimizers(use_pl_optimizer=False).param_groups:  # type: ignore[union-attr]
            group['lr'] = self.recipe.lr_at(epoch)
        self._totals = torch.zeros(3, device=self.device)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Cross-entropy, plus the weighted one of the auxiliary tower."""
        del index  # Unused: the signature is Lightning's.
        output = self.network(batch.images)
        logits, auxiliary = output if isinstance(output, tuple) else (output, None)
        loss = F.cross_entropy(logits, batch.labels)
        correct = (logits.detach().argmax(dim=1) == batch.labels).sum()
        self._totals += torch.stack([loss.detach() * len(logits), correct, torch.full_like(loss, len(logits))])
        if auxiliary is not None:
            loss = loss + self.recipe.auxiliary_weight * F.cross_entropy(auxiliary, batch.labels)
        self.log('loss', loss, prog_bar=True, logger=False, batch_size=len(logits))
        return loss

    def epoch_record(self) -> dict[str, float]:
        """What to remember of the epoch: its number, rates, and mean loss and accuracy in training mode."""
        loss, correct, count = self._totals.tolist()
        epoch = self.current_epoch
        return {'epoch': epoch, 'loss': loss / max(count, 1), 'accuracy': correct / max(count, 1),
                'lr': self.recipe.lr_at(epoch), 'drop_path': self.recipe.drop_path_at(epoch)}


@dataclass(frozen=True)
class Retrained:
    """What a retraining leaves.

    Parameters
    ----------
    network
        Trained, in evaluation mode.
    history
        One row an epoch: ``epoch``, ``loss`` and ``accuracy`` (mean over the epoch, in training mode), ``lr``,
        ``drop_path``.
    directory
        Where the run keeps its files, if it does.
    """

    network: nn.Module
    history: list[dict[str, float]] = field(default_factory=list)
    directory: RunDirectory | None = None


def retrain(architecture: Architecture | nn.Module, data: RetrainData, *, epochs: int = 600, lr: float = 0.025,
            min_lr: float = 0.0, momentum: float = 0.9, weight_decay: float = 3e-4, gradient_clip: float = 5.0,
            auxiliary_weight: float = 0.4, drop_path: float = 0.2, channels: int = 36, cells: int = 20,
            part: Literal['train', 'weights'] = 'train', seed: int = 0, directory: str | os.PathLike[str] | None = None,
            resume: bool = False, accelerator: str = 'auto', progress: bool = True) -> Retrained:
    """Train an architecture from scratch on one device; the caller's random state stays as it was.

    Parameters
    ----------
    architecture
        A found pair of cells, or a network to train in place. A network ignores ``channels``, ``cells`` and, unless it
        has ``set_drop_path`` (ours) or ``set_drop_path_prob`` (NNI hub's), ``drop_path``.
    data
        E.g. a :class:`nni_wcnas.data.ImageData` with ``cutout=16``.
    epochs, lr, min_lr, momentum, weight_decay, gradient_clip, auxiliary_weight, drop_path, seed
        As in :class:`Recipe`.
    channels, cells
        As in :class:`nni_wcnas.evaluation.network.CellNetwork`.
    part
        ``'train'``: both halves; ``'weights'``: only the half that trained the supernet's weights.
    directory
        A folder of its own for ``checkpoints/last.ckpt`` and ``metrics.csv``, written each epoch; None writes nothing.
    resume
        Go on from the checkpoint in ``directory``, if there is one.
    accelerator
        As in Lightning's Trainer.
    progress
        Whether to show a progress bar.

    Returns
    -------
    Retrained
        The network after the last epoch, and the history of all of them.

    Raises
    ------
    RetrainingError
        If the checkpoint is damaged or of another training, or ``directory`` has one and ``resume`` is False.
    ValueError
        If an argument is out of range, or there are no batches.
    KeyboardInterrupt
        On Ctrl-C; the last whole epoch is in the checkpoint.
    """
    recipe = Recipe(epochs, lr, min_lr, momentum, weight_decay, gradient_clip, auxiliary_weight, drop_path, seed)
    if part not in ('train', 'weights'):
        raise ValueError(f"part is {part!r}: give 'train' or 'weights'")
    if resume and directory is None:
        raise ValueError('resume is True, but there is no directory to resume from: give one')
    run = None if directory is None else RunDirectory(directory)
    with _forked_random_state():
        torch.manual_seed(_epoch_seed(seed, 0))
        network = _network(architecture, data, recipe, channels, cells)
        identity = _identity(architecture, network, data, recipe, part)
        state = _resumable(run, resume, identity)
        history = state['history'] if state else []
        module = Retraining(network, data, recipe)
        if state:
            network.load_state_dict(state['network'])
            module.optimizer_state = state['optimizer']
        if len(history) < epochs:
            recorder = _Recorder(history, run, identity)
            _fit(module, part, recorder, start=len(history), accelerator=accelerator, progress=progress)
        if len(history) < epochs:  # Lightning stops without a word where there is nothing to train on.
            raise ValueError(f'part {part!r} of the data has no batches: give data with training examples')
    return Retrained(network.eval(), history, run)


class _Recorder(pl.Callback):
    """Keeps the history and, if there is a folder, the checkpoint."""

    def __init__(self, history: list[dict[str, float]], run: RunDirectory | None, identity: dict[str, Any]):
        self.history = history
        self.run = run
        self.identity = identity
        self.interrupted = False

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Remember Ctrl-C, which Lightning turns into an exit."""
        self.interrupted = isinstance(exception, KeyboardInterrupt)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch; the checkpoint first, so that the table never runs ahead of it."""
        module = cast(Retraining, pl_module)
        self.history.append(module.epoch_record())
        if self.run is not None:
            self.run.write_checkpoint({
                'format': _FORMAT, 'identity': self.identity, 'history': self.history,
                'network': module.network.state_dict(), 'optimizer': trainer.optimizers[0].state_dict()})
            self.run.write_history(self.history)


def _fit(module: Retraining, part: str, recorder: _Recorder, *, start: int, accelerator: str, progress: bool) -> None:
    """Run the epochs from ``start`` on."""
    data, recipe = module.data, module.recipe
    data.set_epoch(start)  # Lightning may fetch the first batch before the first hook.
    loader = data.full_train_dataloader() if part == 'train' else data.train_dataloader()
    with _quiet():
        trainer = pl.Trainer(
            max_epochs=recipe.epochs, accelerator=accelerator, devices=1, callbacks=[recorder],
            gradient_clip_val=recipe.gradient_clip or None, enable_progress_bar=progress, logger=False,
            enable_checkpointing=False, enable_model_summary=False)
        done = {'ready': start, 'started': start, 'processed': start, 'completed': start}
        trainer.fit_loop.epoch_progress.current.load_state_dict(done)
        module.train()
        try:
            trainer.fit(module, loader)
        except SystemExit:
            if recorder.interrupted:
                raise KeyboardInterrupt from None
            raise


def _network(architecture: Architecture | nn.Module, data: RetrainData, recipe: Recipe, channels: int,
             cells: int) -> nn.Module:
    """Build the network, unless it is there."""
    if isinstance(architecture, nn.Module):
        return architecture
    return CellNetwork(architecture, channels, cells, data.num_classes, recipe.auxiliary_weight > 0, drop_path=0.0)


def _identity(architecture: Architecture | nn.Module, network: nn.Module, data: RetrainData, recipe: Recipe,
              part: str) -> dict[str, Any]:
    """All that the trained weights depend on, in plain values; what is compared before a resume."""
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    cells = architecture.sample if isinstance(architecture, Architecture) else type(architecture).__qualname__
    return {
        'architecture': json.dumps([cells, shapes], sort_keys=True), 'part': part, **asdict(recipe),
        **{f'data.{name}': getattr(data, name, None) for name in ('name', 'seed', 'batch_size')},
    }


def _resumable(run: RunDirectory | None, resume: bool, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Read and check the checkpoint, if there is one."""
    if run is None or not run.checkpoint.exists():
        return None
    path = run.checkpoint
    if not resume:
        raise RetrainingError(f'{path} exists: pass resume=True to go on from it, or give another directory')
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise RetrainingError(f'{path} is damaged or not a checkpoint: delete it to start again') from error
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


def _set_drop_path(network: nn.Module, probability: float) -> None:
    """Tell our networks and NNI hub's; another network has no drop path."""
    for name in ('set_drop_path', 'set_drop_path_prob'):
        if hasattr(network, name):
            setter: Callable[[float], None] = getattr(network, name)
            setter(probability)
            return


def _epoch_seed(seed: int, epoch: int) -> int:
    """A seed of its own for each epoch."""
    return ((seed << 20) + epoch) % (1 << 63)


@contextmanager
def _forked_random_state() -> Iterator[None]:
    """Put torch's random states back afterwards."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice to itself; real warnings pass."""
    loggers = [logging.getLogger(name) for name in ('pytorch_lightning', 'lightning_fabric')]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*does not have many workers')
        warnings.filterwarnings('ignore', message='.*GPU available but not used')
        warnings.filterwarnings('ignore', message='.*LeafSpec', module='pytorch_lightning')  # Its own use of torch.
        try:
            for logger in loggers:
                logger.setLevel(logging.WARNING)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
