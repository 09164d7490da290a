"""The data module of every search: two halves of a training set, batches with sample indices, and clean copies.

As in the papers the halves are cut from the unshuffled training set, both are seen through the *training* transform
during the search, and no batch is dropped.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal

import pytorch_lightning
import torch
from nni.nas.evaluator.pytorch import DataLoader
from torch import Tensor

from .augmentation import normalise
from .batch import BatchDataset, BatchRequest, BatchSampler, batch_loader
from .data_options import DataOptions, refuse_impossible, refuse_sharing
from .error import DataArgumentError, DataError
from .shortcut import DEFAULT_STRENGTH, with_shortcut
from .split import first_of_each_class, halves
from .store import ImageSet, ImageStore
from .training_transform import training_transform

if TYPE_CHECKING:
    from ..contracts import Batch

__all__ = ['DataOptions', 'ImageData', 'Part']

Part = Literal['weights', 'architecture', 'train', 'test']
"""Examples to evaluate on: one half of the training set, all of it (``'train'``), or the test set."""


class ImageData(pytorch_lightning.LightningDataModule):
    """A data set, split for a search. Every batch is a :class:`nni_wcnas.contracts.Batch`.

    Parameters
    ----------
    images
        The data set with its official parts; subclasses pass their own.
    **options
        Of :class:`~nni_wcnas.data.data_options.DataOptions`, which says what each does.

    Attributes
    ----------
    name, num_classes, class_names, image_size, mean, std
        Facts of the data set, as in :class:`ImageSet`.
    weight_indices, architecture_indices
        Positions in the training set of the two halves, ascending, int64.
    test_indices
        All positions in the test set.

    Raises
    ------
    DataError
        If an argument is out of range, or a half would lack a class.
    """

    name: str
    in_memory = True
    """Whether all images are in memory, so that they can be held on a GPU too."""

    def __init__(
        self,
        images: ImageSet,
        *,
        batch_size: int = 64,
        limit: int | None = None,
        split: float = 0.5,
        seed: int = 0,
        cutout: int = 0,
        augment: bool = True,
        crop: Literal['padded', 'resized'] = 'padded',
        color_jitter: float | tuple[float, ...] = 0.0,
        auto_augment: str | None = None,
        num_workers: int = 0,
        device: str | None = None,
        shortcut: str | None = None,
        strength: float | None = None,
    ) -> None:
        super().__init__()
        named: dict[str, Any] = {'crop': crop, 'color_jitter': color_jitter, 'auto_augment': auto_augment}
        refuse_impossible(batch_size=batch_size, num_workers=num_workers, device=device, **named)
        # Before everything else that reads the images: a cue also changes name, mean and deviation.
        if shortcut is not None:
            images = with_shortcut(images, shortcut, DEFAULT_STRENGTH if strength is None else strength)
        elif strength is not None:
            raise DataArgumentError(
                'strength', strength, 'give one, or leave strength out',
                reason='is that of a shortcut, and there is none',
            )
        # `images` stays where it was made: reference models and fingerprints work on the CPU. Only the loaders' stores
        # move.
        self.images = images
        self._train, self._test = images.train.to(device or 'cpu'), images.test.to(device or 'cpu')
        self.name = images.name
        self.class_names = images.class_names
        self.num_classes = len(images.class_names)
        self.image_size = images.image_size
        self.mean = images.mean
        self.std = images.std
        self.batch_size = batch_size
        self.seed = seed
        self.num_workers = num_workers
        self.augmentation = training_transform(images, augment=augment, cutout=cutout, **named)
        self.weight_indices, self.architecture_indices = halves(images.train.labels, self.num_classes, split, limit)
        self.test_indices = torch.arange(len(images.test))
        # One sampler for each purpose for good: Lightning makes loaders anew, but set_epoch must reach all of them.
        self._samplers = self._training_samplers()

    @property
    def train_indices(self) -> Tensor:
        """Positions of both halves in the training set, ascending, int64."""
        # Ascending, as the weights' half is the first part of the set.
        return torch.cat([self.weight_indices, self.architecture_indices])

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next, for all loaders, made before or after. A resumed run needs this."""
        for sampler in self._samplers.values():
            sampler.set_epoch(epoch)

    def shared_out(self, rank: int, devices: int) -> ImageData:
        """Return these data as one of several devices trains on them: it gets its share of each batch.

        The share is augmented as it would be in the whole batch.

        Parameters
        ----------
        rank
            Number of this device, from 0.
        devices
            How many devices there are; together their shares are the batch.

        Raises
        ------
        DataError
            If a device could be left fewer than two examples of a batch, or the batches are made on one GPU.
        """
        refuse_sharing(min(self.batch_size, len(self.weight_indices)), self._train.labels.device, devices)
        # Shallow: images and indices are shared, only the samplers differ.
        shared = copy.copy(self)
        shared._samplers = self._training_samplers(rank, devices)
        return shared

    def train_dataloader(self) -> DataLoader[Batch]:
        """Load the weights' half in augmented batches, in a random order of its own each epoch."""
        return self._training_loader('weights')

    def val_dataloader(self) -> DataLoader[Batch]:
        """Load the architecture's half in augmented batches, shuffled too, as in the papers."""
        return self._training_loader('architecture')

    def full_train_dataloader(self) -> DataLoader[Batch]:
        """Load both halves in augmented, shuffled batches: what an architecture is retrained on."""
        return self._training_loader('retrain')

    def test_dataloader(self) -> DataLoader[Batch]:
        """Load the test set in clean batches, in order."""
        return self.evaluation_dataloader('test')

    def evaluation_dataloader(self, part: Part) -> DataLoader[Batch]:
        """Load a part in clean batches, in order; ``Batch.images`` are only normalised.

        Parameters
        ----------
        part
            ``'weights'``, ``'architecture'``, ``'train'`` (both) or ``'test'``.

        Raises
        ------
        DataError
            If there is no such part.
        """
        sampler = BatchSampler(self._positions(part), self.batch_size, seed=self.seed, purpose=part, shuffle=False)
        return batch_loader(BatchDataset(self.images, self._store(part)), sampler, self.seed, self.num_workers)

    def examples(self, part: Part, per_class: int) -> Batch:
        """Return the first examples of each class of a part as one clean batch, ordered by class.

        Parameters
        ----------
        part
            A part, as for :meth:`evaluation_dataloader`.
        per_class
            How many examples of each class to return at most.

        Raises
        ------
        DataError
            If there is no such part, or ``per_class`` is not positive.
        """
        if per_class < 1:
            raise DataArgumentError('per_class', per_class, 'be at least 1')
        store = self._store(part)
        chosen = first_of_each_class(store.labels.cpu(), self._positions(part), per_class)
        # Without augmentation nothing is drawn, so the seed has no effect.
        return BatchDataset(self.images, store)[BatchRequest(chosen, seed=0)]

    def normalise(self, images: Tensor) -> Tensor:
        """Map images in [0, 1], shape ``(N, 3, H, W)``, to what a learner is trained on."""
        return normalise(images, self.mean, self.std)

    def _positions(self, part: Part) -> Tensor:
        """Return the positions of a part's examples in its store."""
        positions = {
            'weights': self.weight_indices,
            'architecture': self.architecture_indices,
            'train': self.train_indices,
            'test': self.test_indices,
        }
        if part not in positions:
            raise DataError(f'There is no part {part!r}; use one of {", ".join(map(repr, positions))}.')
        return positions[part]

    def _store(self, part: Part) -> ImageStore:
        """Return the store that holds a part's images."""
        return self._test if part == 'test' else self._train

    def _training_samplers(self, rank: int = 0, devices: int = 1) -> dict[str, BatchSampler]:
        """Build one sampler for each purpose of training, for one device's share of each batch."""
        parts = {
            'weights': self.weight_indices, 'architecture': self.architecture_indices, 'retrain': self.train_indices,
        }
        return {
            purpose: BatchSampler(indices, self.batch_size, seed=self.seed, purpose=purpose, shuffle=True, rank=rank,
                                  devices=devices)
            for purpose, indices in parts.items()
        }

    def _training_loader(self, purpose: str) -> DataLoader[Batch]:
        """Load augmented batches for one purpose; all loaders for it share its sampler."""
        dataset = BatchDataset(self.images, self._train, self.augmentation)
        return batch_loader(dataset, self._samplers[purpose], self.seed, self.num_workers)
