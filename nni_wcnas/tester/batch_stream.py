"""An endless stream of batches that can be continued in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from nni_wcnas.contracts import Batch

__all__ = ['BatchStream', 'random_state', 'restore_random_state']


class BatchStream:
    """Epoch after epoch of batches.

    To continue, the interrupted epoch is drawn again from the random state it began with and the batches already used
    are skipped. So the order of batches may depend on the epoch's number and on torch's global random state, but on
    nothing else.

    Parameters
    ----------
    batches
        Gives the batches of an epoch, counted from zero.
    """

    def __init__(self, batches: Callable[[int], Iterable[Batch]]):
        self._batches = batches
        self._epoch = -1
        self._used = 0
        self._beginning = random_state()
        self._iterator: Iterator[Batch] = iter(())

    def __next__(self) -> Batch:
        """The next batch, of the next epoch if this one is over."""
        batch = next(self._iterator, None)
        if batch is None:
            self._begin(self._epoch + 1)
            batch = next(self._iterator, None)
        if batch is None:
            raise ValueError(f'Epoch {self._epoch} has no batches, and pre-training needs at least one; '
                             'lower the batch size.')
        self._used += 1
        return batch

    @property
    def epoch(self) -> int:
        """Number of the epoch that the last batch was of, from 0; -1 before the first."""
        return self._epoch

    def state(self) -> dict[str, Any]:
        """Where the stream is."""
        return {'epoch': self._epoch, 'used': self._used, 'beginning': self._beginning}

    def restore(self, state: dict[str, Any]) -> None:
        """Go to where another stream was; leaves the random state as the skipped batches left it."""
        if state['epoch'] < 0:
            return
        restore_random_state(state['beginning'])
        self._begin(state['epoch'])
        for _ in range(state['used']):
            next(self)

    def _begin(self, epoch: int) -> None:
        self._epoch, self._used, self._beginning = epoch, 0, random_state()
        self._iterator = iter(self._batches(epoch))


def random_state() -> dict[str, Any]:
    """The state of torch's global generators, as tensors."""
    return {'cpu': torch.get_rng_state(), 'cuda': torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def restore_random_state(state: dict[str, Any]) -> None:
    """Put back what :func:`random_state` gave."""
    torch.set_rng_state(state['cpu'].cpu())
    if state['cuda'] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([own.cpu() for own in state['cuda']])
