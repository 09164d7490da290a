"""An endless stream of batches that can be continued in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nni_wcnas.contracts import Batch
from nni_wcnas.functional.random_state import random_state, restore_random_state

__all__ = ['BatchStream']


class BatchStream:
    """An endless iterator over the batches of epoch after epoch, whose position can be saved and restored.

    To continue, the interrupted epoch is drawn again from the random state that it began with, and the batches already
    used are skipped. So the order of batches may depend on the epoch's number and on torch's global random state, but
    on nothing else.

    Parameters
    ----------
    batches
        Returns the batches of an epoch, given its number, which counts from zero.
    """

    def __init__(self, batches: Callable[[int], Iterable[Batch]]):
        self._batches = batches
        self._epoch = -1
        self._used = 0
        self._beginning = random_state()
        self._iterator: Iterator[Batch] = iter(())

    def __next__(self) -> Batch:
        """Return the next batch, of the next epoch if this one is over; raise ValueError if an epoch is empty."""
        batch = next(self._iterator, None)
        if batch is None:
            # Also the first call: the stream starts with an empty iterator, before epoch 0.
            self._begin(self._epoch + 1)
            batch = next(self._iterator, None)
        if batch is None:
            raise ValueError(f'Epoch {self._epoch} has no batches, and pre-training needs at least one; '
                             'lower the batch size.')
        self._used += 1
        return batch

    @property
    def epoch(self) -> int:
        """Number of the epoch that the last batch belongs to, from 0; -1 before the first batch."""
        return self._epoch

    def state(self) -> dict[str, Any]:
        """Return the position of the stream, as values that torch.save can write."""
        return {'epoch': self._epoch, 'used': self._used, 'beginning': self._beginning}

    def restore(self, state: dict[str, Any]) -> None:
        """Go to a position that :meth:`state` returned.

        torch's global random state is left as the skipped batches left it; the caller puts back the one it wants.
        """
        if state['epoch'] < 0:
            return
        restore_random_state(state['beginning'])
        self._begin(state['epoch'])
        # next(self), which counts each batch as used once more, not next() of the iterator.
        for _ in range(state['used']):
            next(self)

    def _begin(self, epoch: int) -> None:
        """Start an epoch, and remember the random state that its order of batches is drawn from."""
        # Before the iterator is made: a data loader draws its seed as soon as it is iterated over.
        self._epoch, self._used, self._beginning = epoch, 0, random_state()
        self._iterator = iter(self._batches(epoch))
