"""The callback that writes down a search after each epoch, without disturbing it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from nni_wcnas.contracts import Auxiliary, Tester
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.functional.random_state import untouched_random_state
from nni_wcnas.interruption import interrupted
from nni_wcnas.measure.image.image_judge import ImageJudge
from nni_wcnas.measure.image.tester_images import class_rows, sample
from nni_wcnas.page.event_file import EventFile
from nni_wcnas.page.run_pictures import write_generated

__all__ = ['GENERATED', 'Recorder']

_SHOWN = 10
"""Images of each class in the grid."""
GENERATED = 500
"""Number of a generator's images that are judged after each epoch."""
_SEED = 20240
"""Seed of the noise that all grids and judged images are made from; any fixed number would do."""
# Metrics of Lightning that become columns, beside all losses.
_METRICS = (
    'val_accuracy',
    'val_accuracy_hard',
    'val_loss',
    'train_loss',
    'train_acc',
    'entropy',
    'skips',
    'eigenvalue',
)
_NAMES = {'loss_generator': 'loss_G', 'loss_discriminator': 'loss_S'}
"""The paper's letters for what the tester logs."""


class Recorder(Checkpoint):
    """Callback that writes ``metrics.csv``, the grids of generated images and TensorBoard's files of a search.

    Epoch 0 is before the search.

    The images of the grids and of the measures are the live generator's, which are those that the architecture sees;
    its moving average ends with pre-training. They are made from the same noise, or from the same real images with the
    same random draws, after each epoch. B's values have columns by the names that the tester gives them.

    A ``Checkpoint`` to Lightning, because it calls those after the module's own hook at the end of an epoch, which logs
    the entropy. The history is in its state, so that a resumed search rewrites the file without gaps or repetitions.

    Parameters
    ----------
    run
        The run to write to.
    judge
        Judges the generated images, and holds real ones for testers that change these; None leaves the measures out.
    on_epoch
        Called with each new row, and the number of epochs of all stages.
    events
        TensorBoard's files; None writes none.
    judged
        Looks up a sample's true values, by column; None adds none.
    """

    def __init__(
        self,
        run: RunDirectory,
        judge: ImageJudge | None = None,
        on_epoch: Callable[[dict[str, float], int], None] | None = None,
        events: EventFile | None = None,
        judged: Callable[[dict[str, Any]], dict[str, float]] | None = None,
    ) -> None:
        self.run, self.judge, self.on_epoch, self.events, self.judged = run, judge, on_epoch, events, judged
        self.history: list[dict[str, float]] = []
        self.interruption: KeyboardInterrupt | None = None
        self._rate = math.nan
        self._started = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the history, in plain numbers, for Lightning's checkpoint."""
        return {'history': [dict(row) for row in self.history]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the history of a checkpoint, to go on with it."""
        self.history = [dict(row) for row in state_dict['history']]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the row of epoch 0, before the search; a resumed search has it already."""
        if not self.history and _networks(pl_module)[0] is not None:
            self.history.append({'epoch': 0, **self._generated(pl_module, 0), **self._true(pl_module)})
            self.run.write_history(self.history)
        if self.events is not None:
            # Only here is the history of a resumed search known: Lightning has loaded the checkpoint by now.
            self.events.begin(self.history)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the time, and the learning rate before the schedule moves on."""
        self._rate = float(trainer.optimizers[0].param_groups[0]['lr'])
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the row of the epoch that ends, and the grid of generated images."""
        epoch = trainer.current_epoch + 1  # Lightning counts from 0, and still names the epoch that ends.
        logged = {
            # Reads the numbers from the device, once an epoch.
            _NAMES.get(name, name): float(value)
            for name, value in trainer.callback_metrics.items()
            if name in _METRICS or name.startswith('loss_')
        }
        # Losses in the order of their names, so that the columns do not depend on which was logged first.
        row = {'epoch': epoch, 'lr': self._rate, **dict(sorted(logged.items())), **self._generated(pl_module, epoch)}
        row |= self._true(pl_module)
        # With the measures of this row, which are a part of what the search takes.
        row['seconds'] = round(time.monotonic() - self._started, 3)
        self.history.append(row)
        self.run.write_history(self.history)
        if self.events is not None:
            self.events.add(row)
        if self.on_epoch is not None:
            self.on_epoch(row, trainer.max_epochs or 0)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close TensorBoard's file at the end of the search."""
        if self.events is not None:
            self.events.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remember Ctrl-C and SIGTERM, which Lightning turns into an exit, and close TensorBoard's file."""
        self.interruption = interrupted(exception)
        if self.events is not None:
            self.events.close()

    def _generated(self, module: LightningModule, epoch: int) -> dict[str, float]:
        """Draw the grid of the tester's images; return B's values and the measures of the images by column."""
        tester, auxiliary = _networks(module)
        if tester is None:
            return {}
        source = None if self.judge is None else self.judge.real
        # The same noise each time, so that the pictures of two epochs differ by what the tester has learned.
        with untouched_random_state(_SEED), torch.no_grad():
            images, labels = class_rows(tester, _SHOWN, source)
            write_generated(self.run, epoch, images.cpu(), labels.cpu(), _SHOWN)
            measures = {} if self.judge is None else self.judge.measures(*sample(tester, GENERATED, source), auxiliary)
        return {**tester.values(), **measures}

    def _true(self, module: Any) -> dict[str, float]:
        """Return the true values of the architecture that would be exported now; empty without a table."""
        return {} if self.judged is None else self.judged(module.export())


def _networks(module: LightningModule) -> tuple[Tester | None, Auxiliary | None]:
    """Return the tester of a search if it has hyper-parameters to learn, and the auxiliary model if that learns."""
    # NNI wraps the evaluator's own module, which holds the tester and the auxiliary model.
    inner = getattr(module, 'training_module', None)
    tester = getattr(inner, 'tester', None)
    if tester is None or not tester.has_hyperparameters:
        return None, None
    learns = getattr(getattr(module, 'objective', None), 'needs_auxiliary', False)
    return tester, getattr(inner, 'auxiliary', None) if learns else None
