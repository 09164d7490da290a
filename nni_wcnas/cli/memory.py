"""A forecast of how much memory a search takes, made before it starts, and what to do when there is too little.

A search's memory is a constant and a multiple of its batch size. Two short processes train one batch each, of two small
sizes, with everything that belongs to it (architecture, weights, tester); the line through their peaks is the forecast.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any

import psutil
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace

from nni_wcnas.cli.peak import peak_memory
from nni_wcnas.cli.quiet import silence_lightning
from nni_wcnas.contracts import Schedule
from nni_wcnas.schedule import Projected, SingleStage
from nni_wcnas.settings import assembly
from nni_wcnas.settings.problems import CommandError
from nni_wcnas.settings.schema import Settings
from nni_wcnas.settings.trial import Trial
from nni_wcnas.spaces.architecture import SPACES_WITH_CELLS

__all__ = ['Forecast', 'forecast', 'is_out_of_memory', 'out_of_memory']

_PROBES = (8, 16)
"""Batch sizes of the two processes that are measured."""
_SPARE = 0.9
"""Share of the free memory that a suggested batch size may fill."""


@dataclass(frozen=True)
class Forecast:
    """Peak memory of a search, as a line over the batch size; all amounts are bytes."""

    batch_size: int
    constant: float
    each: float
    """Memory for each example of a batch."""
    free: float
    """Free memory of the device before the search."""
    examples: int
    """Examples of the smaller half of the training set; no batch is larger."""
    remedy: str = ''
    """What could be done beside a smaller batch, for the message; may be empty."""

    @property
    def needed(self) -> float:
        """Memory that the search needs at the batch size of the settings, or with all examples if these are fewer."""
        return self.constant + self.each * min(self.batch_size, self.examples)

    @property
    def largest_batch(self) -> int:
        """Largest batch size that should fit; 0 where none does."""
        # The largest n with constant + each * n <= 0.9 free.
        left = _SPARE * self.free - self.constant
        return 0 if left < 0 else int(min(self.examples, left / self.each if self.each else self.examples))

    def __str__(self) -> str:
        text = f'batch_size {self.batch_size} takes about {_gigabytes(self.needed)}, {_gigabytes(self.free)} are free'
        if min(self.batch_size, self.examples) <= self.largest_batch:
            return f'memory: {text}; up to batch_size {self.largest_batch} should fit'
        lower = f'data.batch_size to {self.largest_batch}' if self.largest_batch >= 2 else 'the size of the space'
        return f'memory: {text}; lower {lower}{self.remedy}'


def forecast(trial: Trial) -> Forecast:
    """Measure the peak memory with two small batch sizes, and extrapolate to that of the settings.

    Parameters
    ----------
    trial
        Checked settings and their data.

    Raises
    ------
    CommandError
        When the search cannot even train a small batch.
    """
    settings, data = trial.settings, trial.data
    small, large = (_peak_elsewhere(settings, size) for size in _PROBES)
    # memory(n) = constant + each * n through both points. Noise must not give a slope below 0.
    each = max(0.0, (large - small) / (_PROBES[1] - _PROBES[0]))
    # A step of the search takes a batch of each half, and neither is larger than its half.
    examples = min(len(data.weight_indices), len(data.architecture_indices))
    return Forecast(data.batch_size, small - each * _PROBES[0], each, _free(settings), examples, _recompute(settings))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that torch had too little memory, on whatever device."""
    # On a CPU torch raises a plain RuntimeError: its allocator with the first text, oneDNN with the second.
    texts = ("can't allocate memory", 'could not create a primitive')
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in texts)


def out_of_memory(settings: Settings) -> str:
    """Say in one sentence that memory ran out, and what to do."""
    given = settings.data.get('batch_size')
    now = '' if given is None else f' from {given}'
    return (
        f'the search ran out of memory; lower data.batch_size{now}{_recompute(settings)} '
        '(`nni-wcnas search SETTINGS --dry-run` says what fits)'
    )


def _recompute(settings: Settings) -> str:
    """Name the remedy of recomputing cells, where the space allows it and the settings do not ask for it yet."""
    possible = settings.space['name'] in SPACES_WITH_CELLS and not settings.method.get('recompute_cells')
    return ', or set method.recompute_cells=true' if possible else ''


def _peak_elsewhere(settings: Settings, batch_size: int) -> float:
    """Return the peak memory, in bytes, of a process of its own that trains one batch of a size.

    A process never gives back its peak, so each size needs a new one; and running out of memory ends that one only.

    Raises
    ------
    CommandError
        When the process fails.
    """
    plain = settings.plain()
    plain['data'] = {**plain['data'], 'batch_size': batch_size}
    # Without a warm-up the one epoch has a step of the architecture, too, whose graphs count in the peak.
    plain['search'] = {**plain['search'], 'epochs': 1, 'warmup': 0}
    # Compilation takes minutes, and hardly changes the peak of memory.
    plain['method'] = {key: value for key, value in plain['method'].items() if key != 'compile'}
    done = subprocess.run(
        [sys.executable, '-m', 'nni_wcnas.cli.memory'], input=json.dumps(plain), capture_output=True, text=True
    )
    # Libraries may print, too: the number is the last word. A process that the system killed leaves no message.
    lines = done.stdout.split()
    # The last line of a traceback is the error itself.
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or ['it was killed, as when memory runs out'])[-1]
        raise CommandError(f'a search with batch_size {batch_size} cannot be tried: {reason}')
    return float(lines[-1])


def _peak(settings: Settings) -> float:
    """Train one batch of each stage, and return the most memory, in bytes, that this process has held at a time."""
    silence_lightning()
    data = assembly.make_data(settings)
    strategy = assembly.make_strategy(settings)
    strategy.schedule = _of_all_sizes(strategy.schedule)
    # Validation keeps no graph, so it takes less memory than training.
    limits: dict[str, Any] = {'limit_train_batches': 1, 'limit_val_batches': 0, 'enable_progress_bar': False}
    evaluator = assembly.make_evaluator(settings, data, strategy, **limits)
    space = RawFormatModelSpace.from_model(assembly.make_space(settings, data), evaluator)
    strategy(space, SequentialExecutionEngine())
    return peak_memory(assembly.device(settings))


def _of_all_sizes(schedule: Schedule) -> Schedule:
    """Return a schedule that trains the same supernets without the decisions between them.

    Decisions take time, and no more memory than the search before them.
    """
    member: Any = schedule
    if hasattr(member, 'inner'):
        return replace(member, inner=_of_all_sizes(member.inner))
    return SingleStage(epochs=1) if isinstance(schedule, Projected) else schedule


def _free(settings: Settings) -> float:
    """Return the free memory of the device that the settings choose, in bytes."""
    if assembly.device(settings) == 'cuda':
        return float(torch.cuda.mem_get_info()[0])  # Free and total memory of the GPU.
    return float(psutil.virtual_memory().available)


def _gigabytes(count: float) -> str:
    """Write a number of bytes in gigabytes."""
    return f'{count / 1e9:.1f} GB'


# The process that trains one batch: settings on standard input, bytes on standard output.
if __name__ == '__main__':
    print(_peak(Settings(**json.load(sys.stdin))))
