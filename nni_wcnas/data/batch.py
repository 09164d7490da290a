"""Whole batches as the unit of loading: a sampler asks for a batch by name, a data set answers it.

Nothing is drawn from a global random state. Batch ``k`` of epoch ``e`` is a function of (seed, purpose, e, k), so a
resumed run, another process or another number of workers sees the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ..contracts import Batch
from .augmentation import Augmentation, normalise
from .seeding import derive_generator, derive_seed
from .store import ImageSet, ImageStore

__all__ = ['BatchDataset', 'BatchRequest', 'BatchSampler']


class BatchRequest(NamedTuple):
    """One batch to come, or one device's share of it."""

    indices: Tensor
    """Positions in the store, shape ``(B,)``, dtype int64."""
    seed: int
    """Seed of the batch's augmentation."""
    first: int = 0
    """Of a share: where in the whole batch it begins."""
    whole: int | None = None
    """Of a share: examples in the whole batch."""


class BatchSampler(Sampler[BatchRequest]):
    """Yields the batch requests of one epoch; no example is dropped.

    A last batch that would leave a device a single example, which batch normalisation could not train on, joins the
    batch before it.

    Parameters
    ----------
    indices
        Positions to go through, shape ``(N,)``.
    batch_size
        At least 2.
    seed, purpose
        Name of the random stream.
    shuffle
        Whether each epoch has an order of its own.
    rank, devices
        Which share of each batch to ask for, from 0, and how many there are: neighbouring examples, as many as in the
        others or one more or less.
    """

    def __init__(
        self, indices: Tensor, batch_size: int, *, seed: int, purpose: str, shuffle: bool, rank: int = 0,
        devices: int = 1,
    ) -> None:
        self.indices = indices
        self.batch_size = batch_size
        self.seed = seed
        self.purpose = purpose
        self.shuffle = shuffle
        self.rank, self.devices = rank, devices
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields. Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(len(self.indices), self.batch_size)
        return max(1, whole + (rest >= 2 * self.devices))

    def __iter__(self) -> Iterator[BatchRequest]:
        epoch = self.epoch
        indices = self.indices
        if self.shuffle:
            generator = derive_generator(self.seed, self.purpose, epoch, 'order')
            indices = indices[torch.randperm(len(indices), generator=generator)]
        for number in range(len(self)):
            start = number * self.batch_size
            stop = len(indices) if number == len(self) - 1 else start + self.batch_size
            batch = indices[start:stop]
            first, end = (len(batch) * share // self.devices for share in (self.rank, self.rank + 1))
            yield BatchRequest(
                batch[first:end], derive_seed(self.seed, self.purpose, epoch, number), first, len(batch))


class BatchDataset(Dataset[Batch]):
    """Answers a request with the whole batch.

    Parameters
    ----------
    images
        The data set that gives the normalisation.
    store
        Its training or its test part.
    augmentation
        What is done to ``Batch.images``; the default does nothing.
    """

    def __init__(self, images: ImageSet, store: ImageStore, augmentation: Augmentation | None = None) -> None:
        self.image_size = images.image_size
        self.mean = images.mean
        self.std = images.std
        self.store = store
        self.augmentation = augmentation or Augmentation()

    def __getitem__(self, request: BatchRequest) -> Batch:
        """Build the batch; ``images`` are normalised and augmented, ``clean`` is in [-1, 1]."""
        indices = request.indices.to(self.store.labels.device)
        pixels, shown = self._read(indices, request)
        drawn = request.seed, request.first, request.whole
        shown = self.augmentation.pixels(shown, *drawn).float().div_(255)
        shown = self.augmentation.normalised(normalise(shown, self.mean, self.std), *drawn)
        clean = pixels.float().div_(127.5).sub_(1)
        return Batch(shown, self.store.labels[indices], indices, clean)

    def _read(self, indices: Tensor, request: BatchRequest) -> tuple[Tensor, Tensor]:
        """The images as they are evaluated, and as they are augmented: the same, or random parts of whole images."""
        if not self.augmentation.resized:
            pixels = self.store.read(indices)
            return pixels, pixels
        pairs = []
        for number, index in enumerate(indices.tolist(), request.first):  # One by one: whole images can be large.
            whole = self.store.open(index)
            part = self.augmentation.part(whole, self.image_size, request.seed, number)
            pairs.append((self.store.fit(whole), part))
        fitted, parts = zip(*pairs)
        return torch.stack(fitted), torch.stack(parts)
