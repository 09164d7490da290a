"""How much memory a search takes, said before it starts, and what to do when there is too little.

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
from nni_wcnas.spaces.architecture import SPACES_WITH_CELLS

__all__ = ['Forecast', 'forecast', 'is_out_of_memory', 'out_of_memory']

_PROBES = (8, 16)
"""Batch sizes that are tried."""
_SPARE = 0.9
"""Share of the free memory that a suggested batch size may fill."""


@dataclass(frozen=True)
class Forecast:
    """Peak memory of a search; everything in bytes."""

    batch_size: int
    constant: float
    each: float
    """For each example of a batch."""
    free: float
    """Of the device, before the search."""
    examples: int
    """Of the smaller half of the training set; no batch is larger."""
    remedy: str = ''
    """What else could be done."""

    @property
    def needed(self) -> float:
        """At the batch size of the settings, as far as there are examples."""
        return self.constant + self.each * min(self.batch_size, self.examples)

    @property
    def largest_batch(self) -> int:
        """That should fit; 0 where none does."""
        left = _SPARE * self.free - self.constant
        return 0 if left < 0 else int(min(self.examples, left / self.each if self.each else self.examples))

    def __str__(self) -> str:
        text = f'batch_size {self.batch_size} takes about {_gigabytes(self.needed)}, {_gigabytes(self.free)} are free'
        if min(self.batch_size, self.examples) <= self.largest_batch:
            return f'memory: {text}; up to batch_size {self.largest_batch} should fit'
        lower = f'data.batch_size to {self.largest_batch}' if self.largest_batch >= 2 else 'the size of the space'
        return f'memory: {text}; lower {lower}{self.remedy}'


def forecast(settings: Settings) -> Forecast:
    """Measure two small batches and extrapolate.

    Parameters
    ----------
    settings
        Checked settings.

    Raises
    ------
    CommandError
        When the search cannot even train these.
    """
    data = assembly.make_data(settings)
    small, large = (_peak_elsewhere(settings, size) for size in _PROBES)
    each = max(0.0, (large - small) / (_PROBES[1] - _PROBES[0]))
    examples = min(len(data.weight_indices), len(data.architecture_indices))
    return Forecast(data.batch_size, small - each * _PROBES[0], each, _free(settings), examples, _recompute(settings))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch had too little memory, on whatever device."""
    texts = ("can't allocate memory", 'could not create a primitive')  # torch's allocator, oneDNN
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in texts)


def out_of_memory(settings: Settings) -> str:
    """What happened, and what to do."""
    given = settings.data.get('batch_size')
    now = '' if given is None else f' from {given}'
    return (
        f'the search ran out of memory; lower data.batch_size{now}{_recompute(settings)} '
        '(`nni-wcnas search SETTINGS --dry-run` says what fits)'
    )


def _recompute(settings: Settings) -> str:
    """The other remedy, where there is one."""
    possible = settings.space['name'] in SPACES_WITH_CELLS and not settings.method.get('recompute_cells')
    return ', or set method.recompute_cells=true' if possible else ''


def _peak_elsewhere(settings: Settings, batch_size: int) -> float:
    """Peak of a process of its own that trains one batch."""
    plain = settings.plain()
    plain['data'] = {**plain['data'], 'batch_size': batch_size}
    plain['search'] = {**plain['search'], 'epochs': 1, 'warmup': 0}
    # Compilation takes minutes, and hardly changes the peak.
    plain['method'] = {key: value for key, value in plain['method'].items() if key != 'compile'}
    done = subprocess.run(
        [sys.executable, '-m', 'nni_wcnas.cli.memory'], input=json.dumps(plain), capture_output=True, text=True
    )
    lines = done.stdout.split()
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or ['it was killed, as when memory runs out'])[-1]
        raise CommandError(f'a search with batch_size {batch_size} cannot be tried: {reason}')
    return float(lines[-1])


def _peak(settings: Settings) -> float:
    """Train one batch of each stage; the most memory that this process held at a time."""
    silence_lightning()
    data = assembly.make_data(settings)
    strategy = assembly.make_strategy(settings)
    strategy.schedule = _of_all_sizes(strategy.schedule)
    limits: dict[str, Any] = {'limit_train_batches': 1, 'limit_val_batches': 0, 'enable_progress_bar': False}
    evaluator = assembly.make_evaluator(settings, data, strategy, **limits)
    space = RawFormatModelSpace.from_model(assembly.make_space(settings, data), evaluator)
    strategy(space, SequentialExecutionEngine())
    return peak_memory(assembly.device(settings))


def _of_all_sizes(schedule: Schedule) -> Schedule:
    """A schedule without decisions: they take time, and no more memory than the search before."""
    member: Any = schedule
    if hasattr(member, 'inner'):
        return replace(member, inner=_of_all_sizes(member.inner))
    return SingleStage(epochs=1) if isinstance(schedule, Projected) else schedule


def _free(settings: Settings) -> float:
    """Free memory of the device."""
    if assembly.device(settings) == 'cuda':
        return float(torch.cuda.mem_get_info()[0])
    return float(psutil.virtual_memory().available)


def _gigabytes(count: float) -> str:
    return f'{count / 1e9:.1f} GB'


if __name__ == '__main__':  # The process that trains one batch: settings on standard input, bytes on standard output.
    print(_peak(Settings(**json.load(sys.stdin))))
