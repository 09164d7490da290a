"""What an epoch and a step of a retraining are, as a Lightning module, and the fitting of it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn import functional as F

from nni_wcnas.contracts import Batch
from nni_wcnas.data.augmentation import normalise
from nni_wcnas.functional.attacks import adversarial_examples
from nni_wcnas.functional.evaluation_mode import evaluation_mode
from nni_wcnas.measure.attack import on_pixels
from nni_wcnas.network.cell_network import DropPath
from nni_wcnas.network.fast_cell import fast_cells
from nni_wcnas.retrain.optimizer import make_optimizer
from nni_wcnas.retrain.recipe import Recipe

__all__ = ['RetrainData', 'Retraining', 'epoch_seed', 'fit']

_ATTACKS = 1 << 40
"""Where the seeds of attacks begin, beyond those of epochs."""
_DEVICES = 1 << 50
"""Where the seeds of each further device begin."""


class RetrainData(Protocol):
    """What a retraining asks of its data; batches may depend on a seed and the epoch only.

    A training on attacked images also asks for ``mean`` and ``std`` of each channel, pixels in [0, 1]; a limit of
    multiply-adds for ``image_size``; one on several devices for ``shared_out(rank, devices)``, the same data with one
    device's share of each batch.
    """

    num_classes: int

    def full_train_dataloader(self) -> Iterable[Batch]:
        """Augmented batches of the whole training set."""

    def train_dataloader(self) -> Iterable[Batch]:
        """Augmented batches of the half that trained the supernet's weights."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next."""


class Retraining(pl.LightningModule):
    """Training with everything that changes set at the start of each epoch.

    Parameters
    ----------
    network
        Maps images to logits or, in training, to a pair of logits, the second an auxiliary tower's.
    data
        Told each epoch before its batches are fetched.
    recipe
        How to train.

    Raises
    ------
    ValueError
        If images are to be attacked and the data do not tell how they are normalised.
    """

    def __init__(self, network: nn.Module, data: RetrainData, recipe: Recipe):
        super().__init__()
        if recipe.adversarial_steps and not (hasattr(data, 'mean') and hasattr(data, 'std')):
            raise ValueError('adversarial_steps attack pixels, but the data have no mean and std to find them by: give '
                             'data with both, or adversarial_steps=0')
        self.network = network
        self.data = data
        self.recipe = recipe
        self.average = ModelEmaV3(network, decay=recipe.ema_decay) if recipe.ema_decay else None
        """The moving average of the network, where there is one."""
        self.optimizer_state: dict[str, Any] | None = None
        """Set before fitting to go on with earlier momentum."""
        self._totals = torch.zeros(3)  # Loss times examples, correct ones, examples.
        self._call: Callable[[Tensor], Any] = lambda images: self.network(images)  # No module: that would be one twice.
        if recipe.compile:
            for module in network.modules():
                if isinstance(module, DropPath):
                    module.keep_as_data()
            self._call = torch.compile(self._call)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build the recipe's; its learning rate is set at the start of each epoch."""
        optimizer = make_optimizer(self.network.parameters(), self.recipe)
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
        return optimizer

    def configure_gradient_clipping(self, optimizer: Any, gradient_clip_val: Any = None,
                                    gradient_clip_algorithm: Any = None) -> None:
        """Limit the norm, of all gradients at once."""
        del optimizer, gradient_clip_val, gradient_clip_algorithm  # Unused: the signature is Lightning's.
        if self.recipe.gradient_clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_clip, foreach=True)

    def on_train_epoch_start(self) -> None:
        """Set what depends on the epoch."""
        epoch = self.current_epoch
        self.data.set_epoch(epoch)
        torch.manual_seed(self._seed(epoch + 1))  # Drop path draws from it. 0 was the network's.
        _set_drop_path(self.network, self.recipe.drop_path_at(epoch))
        for group in self.optimizers(use_pl_optimizer=False).param_groups:  # type: ignore[union-attr]
            group['lr'] = self.recipe.lr_at(epoch)
        self._totals = torch.zeros(3, device=self.device)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Cross-entropy, plus the weighted one of the auxiliary tower."""
        recipe, labels = self.recipe, batch.labels
        images = self._attacked(batch, index) if recipe.adversarial_steps else batch.images
        if recipe.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        output = self._call(images)
        logits, auxiliary = output if isinstance(output, tuple) else (output, None)
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        correct = (logits.detach().argmax(dim=1) == labels).sum()
        self._totals += torch.stack([loss.detach() * len(logits), correct, torch.full_like(loss, len(logits))])
        if auxiliary is not None:
            loss = loss + recipe.auxiliary_weight * F.cross_entropy(
                auxiliary, labels, label_smoothing=recipe.label_smoothing)
        self.log('loss', loss, prog_bar=True, logger=False, batch_size=len(logits))
        return loss * self._weight(len(logits)) if self.trainer.world_size > 1 else loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the average."""
        if self.average is not None:
            self.average.update(self.network)

    def epoch_record(self) -> dict[str, float]:
        """What to remember of the epoch: its number, rates, and mean loss and accuracy in training mode."""
        loss, correct, count = self.trainer.strategy.reduce(self._totals, reduce_op='sum').tolist()
        epoch = self.current_epoch
        return {'epoch': epoch, 'loss': loss / max(count, 1), 'accuracy': correct / max(count, 1),
                'lr': self.recipe.lr_at(epoch), 'drop_path': self.recipe.drop_path_at(epoch)}

    def _seed(self, number: int) -> int:
        """A seed of this device."""
        return epoch_seed(self.recipe.seed, number + _DEVICES * self.global_rank)

    def _weight(self, count: int) -> Tensor:
        """What a mean over this device's share counts in the mean over the batch, times the number of devices.

        The devices' gradients are averaged, and their shares need not be of one size.
        """
        share = torch.tensor(float(count), device=self.device)
        return share / self.trainer.strategy.reduce(share.clone(), reduce_op='mean')

    def _attacked(self, batch: Batch, index: int) -> Tensor:
        """Normalised images that PGD led the network astray with, in evaluation mode."""
        generator = torch.Generator().manual_seed(self._seed(_ATTACKS + (self.current_epoch << 20) + index))
        mean, std = self.data.mean, self.data.std  # type: ignore[attr-defined]
        model = on_pixels(self.network, mean, std)
        with evaluation_mode(self.network):
            pixels = adversarial_examples(model, model.pixels(batch.images), batch.labels, generator=generator,
                                          steps=self.recipe.adversarial_steps)
        return normalise(pixels, mean, std)


def fit(module: Retraining, loader: Iterable[Batch], recorder: pl.Callback, *, start: int, accelerator: str,
        progress: bool, devices: int = 1) -> None:
    """Run the epochs from ``start`` on.

    Parameters
    ----------
    module
        What is trained.
    loader
        Batches of an epoch.
    recorder
        Told of the end of each epoch; its ``interrupted`` says whether an exit was Ctrl-C.
    start
        The first epoch.
    accelerator, progress
        As in :func:`nni_wcnas.retrain.retraining.retrain`.
    devices
        How many processes train; this is one of them, as the environment tells.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C.
    """
    recipe = module.recipe
    is_fast = recipe.fast_cell and recipe.precision == 'fp32' and not recipe.compile
    with _quiet(), fast_cells(module.network) if is_fast else nullcontext():
        trainer = pl.Trainer(
            max_epochs=recipe.epochs, accelerator=accelerator, devices=devices, callbacks=[recorder],
            strategy=_together() if devices > 1 else 'auto', use_distributed_sampler=False,
            precision='bf16-mixed' if recipe.precision == 'bf16' else '32-true', enable_progress_bar=progress,
            logger=False, enable_checkpointing=False, enable_model_summary=False)
        done = {'ready': start, 'started': start, 'processed': start, 'completed': start}
        trainer.fit_loop.epoch_progress.current.load_state_dict(done)
        module.train()
        try:
            trainer.fit(module, loader)
        except SystemExit:
            if recorder.interrupted:  # type: ignore[attr-defined]
                raise KeyboardInterrupt from None
            raise


def _together() -> DDPStrategy:
    """Lightning's, for processes that are there already.

    A cell may leave an input unused, and with it weights without a gradient; a search for these at each step also
    keeps the gradients in the same buckets, so that a resumed training adds them up in the same order.
    """
    return DDPStrategy(cluster_environment=LightningEnvironment(), find_unused_parameters=True)


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed of its own for each epoch."""
    return ((seed << 20) + epoch) % (1 << 63)


def _set_drop_path(network: nn.Module, probability: float) -> None:
    """Tell our networks and NNI hub's; another network has no drop path."""
    for name in ('set_drop_path', 'set_drop_path_prob'):
        if hasattr(network, name):
            setter: Callable[[float], None] = getattr(network, name)
            setter(probability)
            return


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice to itself; real warnings pass."""
    loggers = [logging.getLogger(name) for name in ('pytorch_lightning', 'lightning_fabric')]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*does not have many workers')
        warnings.filterwarnings('ignore', message='.*GPU available but not used')
        warnings.filterwarnings('ignore', message='.*LeafSpec', module='pytorch_lightning')  # Its own use of torch.
        warnings.filterwarnings('ignore', message='Grad strides do not match')  # Those of 1x1 kernels.
        try:
            for logger in loggers:
                logger.setLevel(logging.WARNING)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
