"""A search of several stages small enough for many tests: real digits, three cells, parts of a second."""

from collections.abc import Callable
from typing import Any

import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import RawFormatModelSpace
from pytorch_lightning.callbacks import Callback

import nni_wcnas as wc
from nni_wcnas.contracts import Schedule

OPERATIONS = ('none', 'max_pool_3x3', 'skip_connect', 'dil_conv_3x3')


def run(
    schedule: Schedule | None = None,
    *,
    epochs: int = 1,
    seed: int = 0,
    width: int = 4,
    batch_size: int = 8,
    callbacks: tuple[Callback, ...] = (),
    members: dict[str, Any] | None = None,
    has_tester: bool = False,
    space: ModelSpace | None = None,
    **evaluator: Any,
) -> wc.Search:
    """Search; returns the strategy."""
    torch.manual_seed(seed)
    data = wc.data.Digits(batch_size=batch_size, limit=32)
    space = space or wc.spaces.DARTS(width=width, num_cells=3, num_nodes=2, operations=OPERATIONS)
    quiet = {'enable_progress_bar': False, 'accelerator': 'cpu', 'callbacks': list(callbacks)}
    tester = wc.FQGAN(10, image_size=16, width=4, latent=8, dictionary_size=8, ema_start=1) if has_tester else None
    strategy = wc.Search(schedule=schedule, **(members or {}))
    parts = wc.SearchEvaluator(data, tester=tester, max_epochs=epochs, **quiet, **evaluator)
    strategy(RawFormatModelSpace.from_model(space, parts), SequentialExecutionEngine())
    return strategy


class AtEpochEnd(Callback):
    """Keeps what a probe finds in the search module at the end of each epoch, before its schedule acts."""

    def __init__(self, probe: Callable[[Any], Any]) -> None:
        self.probe, self.found = probe, []

    def on_train_epoch_end(self, trainer, module):
        self.found.append(self.probe(module))


def probe(function: Callable[[Any], Any], schedule: Schedule | None = None, **arguments: Any) -> Any:
    """What a function finds in the search module at the end of the last epoch."""
    callback = AtEpochEnd(function)
    run(schedule, callbacks=(callback,), **arguments)
    return callback.found[-1]
