"""Whole batches as the unit of loading: a sampler asks for a batch by name, a data set answers it.

Nothing is drawn from a global random state. Batch ``k`` of epoch ``e`` is a function of (seed, purpose, e, k), so a
resumed run, another process or another number of workers sees the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from nni.nas.evaluator.pytorch import DataLoader
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from nni_wcnas.functional.image_range import bytes_to_signed

from ..contracts import Batch
from .augmentation import Augmentation, normalise
from .seeding import derive_generator, derive_seed
from .store import ImageSet, ImageStore

__all__ = ['BatchDataset', 'BatchRequest', 'BatchSampler', 'batch_loader']


class BatchRequest(NamedTuple):
    """One batch to come, or one device's share of it."""

    indices: Tensor
    """Positions in the store, shape ``(B,)``, dtype int64."""
    seed: int
    """Seed of the batch's augmentation."""
    first: int = 0
    """Where a share begins in the whole batch."""
    whole: int | None = None
    """Number of examples in the whole batch that a share is of; None if this is the whole batch."""


class BatchSampler(Sampler[BatchRequest]):
    """A sampler that yields the batch requests of one epoch; no example is dropped.

    A last batch that would leave a device a single example, which batch normalisation could not train on, joins the
    batch before it.

    Parameters
    ----------
    indices
        Positions in the store to go through, shape ``(N,)``.
    batch_size
        Examples in a batch, at least 2.
    seed, purpose
        Name of the random stream.
    shuffle
        Whether each epoch has a random order of its own.
    rank, devices
        Number of the share of each batch to ask for, from 0, and how many shares there are. A share is a run of
        neighbouring examples; the sizes of the shares differ by at most one.
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
        # The rest makes a batch only if every device gets two of its examples. Otherwise the last batch takes it in.
        whole, rest = divmod(len(self.indices), self.batch_size)
        return max(1, whole + (rest >= 2 * self.devices))

    def __iter__(self) -> Iterator[BatchRequest]:
        epoch = self.epoch
        indices = self.indices
        if self.shuffle:
            # The order is a function of seed, purpose and epoch, so a resumed run sees the order that it would have
            # seen.
            generator = derive_generator(self.seed, self.purpose, epoch, 'order')
            indices = indices[torch.randperm(len(indices), generator=generator)]
        for number in range(len(self)):
            start = number * self.batch_size
            stop = len(indices) if number == len(self) - 1 else start + self.batch_size
            batch = indices[start:stop]
            # Cuts at floor(n r / devices): consecutive shares join without gaps and cover the batch.
            first, end = (len(batch) * share // self.devices for share in (self.rank, self.rank + 1))
            # All shares of a batch carry the same seed: `first` and the size say which of its draws are theirs.
            yield BatchRequest(
                batch[first:end], derive_seed(self.seed, self.purpose, epoch, number), first, len(batch))


class BatchDataset(Dataset[Batch]):
    """A map-style data set whose items are whole batches, by request.

    Parameters
    ----------
    images
        The data set, which gives the normalisation.
    store
        The training or the test part of the data set.
    augmentation
        The random changes of ``Batch.images``; the default does nothing.
    """

    def __init__(self, images: ImageSet, store: ImageStore, augmentation: Augmentation | None = None) -> None:
        self.image_size = images.image_size
        self.mean = images.mean
        self.std = images.std
        self.store = store
        self.augmentation = augmentation or Augmentation()

    def __getitem__(self, request: BatchRequest) -> Batch:
        """Build the batch; ``images`` are normalised and augmented, ``clean`` is in [-1, 1]."""
        # Requests come from the CPU; batches are made where the images are held.
        indices = request.indices.to(self.store.labels.device)
        pixels, shown = self._read(indices, request)
        drawn = request.seed, request.first, request.whole
        # Cutout comes after the normalisation, where 0 is the mean colour; all other changes come before, on bytes.
        shown = self.augmentation.pixels(shown, *drawn).float().div_(255)
        shown = self.augmentation.normalised(normalise(shown, self.mean, self.std), *drawn)
        clean = bytes_to_signed(pixels)  # The range of the generator's images.
        return Batch(shown, self.store.labels[indices], indices, clean)

    def _read(self, indices: Tensor, request: BatchRequest) -> tuple[Tensor, Tensor]:
        """Read bytes ``(B, 3, H, W)`` twice: as they are evaluated, and as the augmentation begins with them.

        The two are the same unless the augmentation cuts random parts out of whole images.
        """
        if not self.augmentation.resized:
            pixels = self.store.read(indices)
            return pixels, pixels
        pairs = []
        for number, index in enumerate(indices.tolist(), request.first):  # One by one: whole images can be large.
            # `number` counts from the share's place in the whole batch, so the crops do not depend on the devices.
            whole = self.store.open(index)
            part = self.augmentation.part(whole, self.image_size, request.seed, number)
            pairs.append((self.store.fit(whole), part))
        fitted, parts = zip(*pairs)
        return torch.stack(fitted), torch.stack(parts)


def batch_loader(dataset: BatchDataset, sampler: BatchSampler, seed: int, num_workers: int) -> DataLoader[Batch]:
    """Join a data set and a sampler; a generator of its own keeps the loader from drawing on torch's global one."""
    # NNI's DataLoader is torch's with a record of its arguments; NNI's evaluators warn of others.
    return DataLoader(
        dataset,
        # No batching by the loader: the sampler's requests go to the data set as they are, which answers whole batches.
        batch_size=None,
        sampler=sampler,
        num_workers=num_workers,
        generator=derive_generator(seed, 'workers'),
    )
