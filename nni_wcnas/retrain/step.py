"""One epoch and one step of a retraining as a Lightning module, and the function that runs the epochs.

Lightning serves for its loop, devices, precision and progress bar. Rates, drop path and seeds are set
here at the start of each epoch as functions of the epoch alone, so that a resumed training needs no state of them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import numpy as np
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
from nni_wcnas.one_device import one_device
from nni_wcnas.retrain.optimizer import make_optimizer
from nni_wcnas.retrain.recipe import RetrainingRecipe

__all__ = ['RetrainData', 'Retraining', 'attack_seed', 'epoch_seed', 'fit']

_DEVICES = 1 << 50
"""Added to the number of a seed once for each device before this one, so that each draws numbers of its own."""


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
    """The training of one network, in which everything that changes is set at the start of each epoch.

    Parameters
    ----------
    network
        Maps images ``(N, 3, H, W)`` to logits ``(N, C)`` or, in training, to a pair of them, the second an auxiliary
        tower's.
    data
        The data set, which is told each epoch before its batches are fetched.
    recipe
        The numbers of the training.

    Raises
    ------
    ValueError
        If images are to be attacked and the data do not tell how they are normalised.
    """

    def __init__(self, network: nn.Module, data: RetrainData, recipe: RetrainingRecipe):
        super().__init__()
        if recipe.adversarial_steps and not (hasattr(data, 'mean') and hasattr(data, 'std')):
            raise ValueError('adversarial_steps attack pixels, but the data have no mean and std to find them by: give '
                             'data with both, or adversarial_steps=0')
        self.network = network
        self.data = data
        self.recipe = recipe
        self.average = ModelEmaV3(network, decay=recipe.ema_decay) if recipe.ema_decay else None
        """Exponential moving average of the network's weights and buffers; None where the recipe has none."""
        self.optimizer_state: dict[str, Any] | None = None
        """State of an optimiser to go on with, such as momentum; set it before fitting."""
        # Sum of the losses, correct examples, examples; on the device, read once an epoch.
        self._totals = torch.zeros(3)
        # A function, not a module: a compiled module as an attribute would register the network's weights twice.
        self._call: Callable[[Tensor], Any] = lambda images: self.network(images)
        if recipe.compile:
            # Before compilation: otherwise the chance of each epoch would be a constant of the compiled code.
            for module in network.modules():
                if isinstance(module, DropPath):
                    module.keep_as_data()
            self._call = torch.compile(self._call)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build the recipe's optimiser, with earlier state if there is some.

        There is no scheduler: the learning rate is set at the start of each epoch.
        """
        recipe = self.recipe
        optimizer = make_optimizer(
            self.network.parameters(), recipe.optimizer, recipe.lr, recipe.momentum, recipe.weight_decay)
        # Restored here rather than by Lightning, whose checkpoints are not used.
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
        return optimizer

    def configure_gradient_clipping(self, optimizer: Any, gradient_clip_val: Any = None,
                                    gradient_clip_algorithm: Any = None) -> None:
        """Scale all gradients so that their common norm is at most the recipe's ``gradient_clip_val``."""
        del optimizer, gradient_clip_val, gradient_clip_algorithm  # Unused: the signature is Lightning's.
        if self.recipe.gradient_clip_val:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_clip_val, foreach=True)

    def on_train_epoch_start(self) -> None:
        """Set what depends on the epoch: batches, random state, drop path and learning rate."""
        epoch = self.current_epoch
        self.data.set_epoch(epoch)
        # Drop path draws from the global state. Number 0 seeded the initial weights, so epochs begin at 1.
        torch.manual_seed(self._seed(epoch + 1))
        _set_drop_path(self.network, self.recipe.drop_path_at(epoch))
        # All groups have one rate: a recipe knows no rates by layer.
        for group in self.optimizers(use_pl_optimizer=False).param_groups:  # type: ignore[union-attr]
            group['lr'] = self.recipe.lr_at(epoch)
        self._totals = torch.zeros(3, device=self.device)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of a batch, shape ``()``: the cross-entropy, plus the weighted one of the auxiliary tower.

        The totals of the epoch count the cross-entropy alone, so that trainings with and without a tower compare.
        """
        recipe, labels = self.recipe, batch.labels
        images = self._attacked(batch, index) if recipe.adversarial_steps else batch.images
        if recipe.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        output = self._call(images)  # A pair only in training with an auxiliary tower.
        logits, auxiliary = output if isinstance(output, tuple) else (output, None)
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        correct = (logits.detach().argmax(dim=1) == labels).sum()
        # No `.item()`: reading a number would make the processor wait for the GPU at each step.
        self._totals += torch.stack([loss.detach() * len(logits), correct, torch.full_like(loss, len(logits))])
        if auxiliary is not None:
            loss = loss + recipe.auxiliary_weight * F.cross_entropy(
                auxiliary, labels, label_smoothing=recipe.label_smoothing)
        # For the progress bar only; the size is given as Lightning would have to guess it from the batch.
        self.log('loss', loss, prog_bar=True, logger=False, batch_size=len(logits))
        # DDP averages the devices' gradients with equal weights, whatever the sizes of their shares.
        return loss * self._weight(len(logits)) if self.trainer.world_size > 1 else loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the moving average of the weights after each step."""
        if self.average is not None:
            self.average.update(self.network)

    def epoch_record(self) -> dict[str, float]:
        """Return the epoch's row: its number, rates, and mean loss and accuracy in training mode, over all devices."""
        loss, correct, count = self.trainer.strategy.reduce(self._totals, reduce_op='sum').tolist()
        epoch = self.current_epoch
        return {'epoch': epoch, 'loss': loss / max(count, 1), 'accuracy': correct / max(count, 1),
                'lr': self.recipe.lr_at(epoch), 'drop_path': self.recipe.drop_path_at(epoch)}

    def _seed(self, number: int) -> int:
        """Return a seed for something that has a number of its own in this training, different on each device."""
        return epoch_seed(self.recipe.seed, number + _DEVICES * self.global_rank)

    def _weight(self, count: int) -> Tensor:
        """Return the factor by which the mean loss over this device's share enters the mean over the whole batch.

        With n_d examples on device d of D, it is ``n_d / mean(n)``: the average of the D gradients is then
        ``sum_d n_d g_d / sum_d n_d``, the gradient of the mean over the batch. All devices have to call it at each
        step.
        """
        share = torch.tensor(float(count), device=self.device)
        # The reduction writes into its argument.
        return share / self.trainer.strategy.reduce(share.clone(), reduce_op='mean')

    def _attacked(self, batch: Batch, index: int) -> Tensor:
        """Return the batch's images after PGD, normalised, shape ``(N, 3, H, W)``; the network is in evaluation mode.

        The attack finds pixels in [0, 1] that the network errs on, from a random start (papers/wcnas, table 15).
        """
        # A generator of its own, seeded by epoch and batch: the attack takes nothing from the state that drop path
        # draws from, and a resumed training starts its attacks from the same points.
        generator = torch.Generator().manual_seed(
            attack_seed(self.recipe.seed, self.global_rank, self.current_epoch, index))
        mean, std = self.data.mean, self.data.std  # type: ignore[attr-defined]
        model = on_pixels(self.network, mean, std)
        # Without drop path the attack sees one network in all its steps, and running averages do not move.
        with evaluation_mode(self.network):
            pixels = adversarial_examples(model, model.pixels(batch.images), batch.labels, generator=generator,
                                          steps=self.recipe.adversarial_steps)
        return normalise(pixels, mean, std)


def fit(module: Retraining, loader: Iterable[Batch], recorder: pl.Callback, *, start: int, accelerator: str,
        progress: bool, devices: int = 1) -> None:
    """Train a module from the epoch ``start`` on, up to the recipe's last epoch.

    Parameters
    ----------
    module
        The training, with its network and recipe.
    loader
        Batches of an epoch.
    recorder
        Callback that is told of the end of each epoch; its ``interruption`` says what an exit was, if not one.
    start
        The first epoch.
    accelerator, progress
        As in :func:`nni_wcnas.retrain.retraining.retrain`.
    devices
        Number of processes that train; this is one of them, as the environment tells.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C.
    """
    recipe = module.recipe
    # Fast cells serve float32 on a CPU only, and a compiled network keeps the code that it was traced to.
    is_fast = recipe.fast_cell and recipe.precision == '32-true' and not recipe.compile
    with _quiet(), fast_cells(module.network) if is_fast else nullcontext():
        trainer = pl.Trainer(
            max_epochs=recipe.epochs, accelerator=accelerator, devices=devices, callbacks=[recorder],
            # No distributed sampler: `shared_out` data hold this device's share of each batch already.
            strategy=_together() if devices > 1 else 'auto', use_distributed_sampler=False,
            precision=recipe.precision, enable_progress_bar=progress, logger=False, enable_checkpointing=False,
            enable_model_summary=False, **({} if devices > 1 else one_device()))
        # Lightning counts the earlier epochs as done and begins at `start`, without a checkpoint of its own.
        done = {'ready': start, 'started': start, 'processed': start, 'completed': start}
        trainer.fit_loop.epoch_progress.current.load_state_dict(done)
        module.train()  # Lightning keeps the mode that it finds a module in.
        try:
            trainer.fit(module, loader)
        # Lightning turns Ctrl-C into an exit, so that the caller would be gone, too.
        except SystemExit:
            if recorder.interruption is not None:  # type: ignore[attr-defined]
                raise recorder.interruption from None  # type: ignore[attr-defined]
            raise


def _together() -> DDPStrategy:
    """Return Lightning's DDP strategy for processes that are there already.

    A cell may leave an input unused, and with it weights without a gradient; a search for these at each step also
    keeps the gradients in the same buckets, so that a resumed training adds them up in the same order.
    """
    return DDPStrategy(cluster_environment=LightningEnvironment(), find_unused_parameters=True)


def epoch_seed(seed: int, epoch: int) -> int:
    """Return a seed for each pair of a training's seed and a number, such as an epoch.

    Numbers below 2**20 of one seed never meet those of another; the result is below 2**63, as torch asks.
    """
    return ((seed << 20) + epoch) % (1 << 63)


def attack_seed(seed: int, rank: int, epoch: int, index: int) -> int:
    """Return the seed of the random start of an attack, for one batch of one epoch on one device of a training.

    The four numbers are hashed, not added up: in a sum epoch 1 of one training's seed meets epoch 0 of the next seed.
    The result is below 2**63, as torch asks.
    """
    return int(np.random.SeedSequence((seed, rank, epoch, index)).generate_state(1, np.uint64)[0]) >> 1


def _set_drop_path(network: nn.Module, probability: float) -> None:
    """Tell a network its chance of dropping a path: ours or one of NNI's hub; any other network has no drop path."""
    for name in ('set_drop_path', 'set_drop_path_prob'):
        if hasattr(network, name):
            setter: Callable[[float], None] = getattr(network, name)
            setter(probability)
            return


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's advice and known harmless warnings inside the context; all other warnings pass."""
    loggers = [logging.getLogger(name) for name in ('pytorch_lightning', 'lightning_fabric')]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*does not have many workers')
        warnings.filterwarnings('ignore', message='.*GPU available but not used')
        # Lightning's own use of a torch function that is deprecated.
        warnings.filterwarnings('ignore', message='.*LeafSpec', module='pytorch_lightning')
        # DDP's buckets hold the gradients of 1x1 kernels in other strides: the same memory, as the sides are 1.
        warnings.filterwarnings('ignore', message='Grad strides do not match')
        try:
            for logger in loggers:
                logger.setLevel(logging.WARNING)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
