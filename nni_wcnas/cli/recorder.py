"""What a search writes down after each epoch, without disturbing it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from nni_wcnas.contracts import Noise, Tester
from nni_wcnas.data.reference import Reference
from nni_wcnas.evaluation.recording import RunDirectory

__all__ = ['Recorder']

_SHOWN = 10
"""Images a class in the grid."""
_JUDGED = 500
"""Images that the reference classifier sees."""
_SEED = 20240
_METRICS = (
    'val_accuracy',
    'val_accuracy_hard',
    'val_loss',
    'train_loss',
    'train_acc',
    'entropy',
    'skips',
    'eigenvalue',
    'momentum',
    'weight',
)
_NAMES = {'loss_generator': 'loss_G', 'loss_discriminator': 'loss_S'}
"""The paper's letters for what the tester logs."""


class Recorder(Checkpoint):
    """Writes ``metrics.csv`` and the grids of generated images; epoch 0 is the state before the search.

    The images of the grids and of ``reference_error`` are the live generator's, which are those that the architecture
    sees; its moving average ends with pre-training.

    A ``Checkpoint`` to Lightning, because it calls those after the module's own hook at the end of an epoch, which logs
    the entropy. The history is in its state, so that a resumed search rewrites the file without gaps or repetitions.

    Parameters
    ----------
    run
        Where to write.
    reference
        Judges the generated images; None leaves ``reference_error`` out.
    on_epoch
        Called with each new row, and the number of epochs of all stages.
    """

    def __init__(
        self,
        run: RunDirectory,
        reference: Reference | None = None,
        on_epoch: Callable[[dict[str, float], int], None] | None = None,
    ) -> None:
        self.run, self.reference, self.on_epoch = run, reference, on_epoch
        self.history: list[dict[str, float]] = []
        self.interrupted = False
        self._rate = math.nan
        self._started = 0.0

    def state_dict(self) -> dict[str, Any]:
        """The history, in plain numbers."""
        return {'history': [dict(row) for row in self.history]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with an earlier history."""
        self.history = [dict(row) for row in state_dict['history']]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write down the state before the search."""
        tester = _tester(pl_module)
        if tester is not None and not self.history:
            self.history.append({'epoch': 0, **self._generated(tester, 0)})
            self.run.write_history(self.history)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the learning rate before the schedule moves on."""
        self._rate = float(trainer.optimizers[0].param_groups[0]['lr'])
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write down the epoch."""
        epoch = trainer.current_epoch + 1
        logged = {
            _NAMES.get(name, name): float(value)
            for name, value in trainer.callback_metrics.items()
            if name in _METRICS or name.startswith('loss_')
        }
        row = {'epoch': epoch, 'lr': self._rate, **dict(sorted(logged.items()))}
        tester = _tester(pl_module)
        if tester is not None:
            row |= self._generated(tester, epoch)
        row['seconds'] = round(time.monotonic() - self._started, 3)
        self.history.append(row)
        self.run.write_history(self.history)
        if self.on_epoch is not None:
            self.on_epoch(row, trainer.max_epochs or 0)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remember Ctrl-C, which Lightning turns into an exit."""
        self.interrupted = isinstance(exception, KeyboardInterrupt)

    def _generated(self, tester: Tester, epoch: int) -> dict[str, float]:
        """Draw the grid; the reference classifier's error on the tester's images."""
        with _own_random_state(), torch.no_grad():
            labels = torch.arange(tester.num_classes).repeat_interleave(_SHOWN)
            latent, drawn = tester.noise(len(labels))
            images = tester.generate(Noise(latent, labels.to(drawn.device)))
            self.run.write_generated(epoch, images.cpu(), labels, _SHOWN)
            if self.reference is None:
                return {}
            noise = tester.noise(_JUDGED)
            return {'reference_error': self.reference.error(tester.generate(noise).cpu(), noise.labels.cpu())}


def _tester(module: LightningModule) -> Tester | None:
    """The search's tester, if it has one."""
    return getattr(getattr(module, 'training_module', None), 'tester', None)


@contextmanager
def _own_random_state() -> Iterator[None]:
    """The same noise after each epoch, and the search's random state as if nothing had been drawn."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(_SEED)
        yield
