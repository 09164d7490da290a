"""The data module of every search: two halves of a training set, batches with sample indices, and clean copies.

As in the papers the halves are cut from the unshuffled training set, both are seen through the *training* transform
during the search, and no batch is dropped.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import pytorch_lightning
import torch
from nni.nas.evaluator.pytorch import DataLoader
from torch import Tensor

from .augmentation import normalise
from .batch import BatchDataset, BatchRequest, BatchSampler
from .error import DataArgumentError, DataError
from .seeding import derive_generator
from .shortcut import with_shortcut
from .split import halves, rank_in_class
from .store import ImageSet, ImageStore
from .training_transform import is_image_by_image, training_transform

if TYPE_CHECKING:
    from ..contracts import Batch

__all__ = ['DataOptions', 'ImageData', 'Part']

Part = Literal['weights', 'architecture', 'train', 'test']
"""Examples to evaluate on: one half of the training set, all of it (``'train'``), or the test set."""


class DataOptions(TypedDict, total=False):
    """The keyword arguments of :class:`ImageData` that all data sets share."""

    batch_size: int
    limit: int | None
    split: float
    seed: int
    cutout: int
    augment: bool
    crop: Literal['padded', 'resized']
    color_jitter: float | tuple[float, ...]
    auto_augment: str | None
    num_workers: int
    device: str | None
    shortcut: str | None
    strength: float | None


class ImageData(pytorch_lightning.LightningDataModule):
    """A data set, split for a search. Every batch is a :class:`nni_wcnas.contracts.Batch`.

    Parameters
    ----------
    images
        The data set with its official parts; subclasses pass their own.
    batch_size
        Examples in a batch, at least 2. A last batch of one example joins the one before it.
    limit
        How many training examples to use: the first of each class in each half; None uses all.
    split
        Share of the training set that trains the weights, in (0, 1): the first part of the unshuffled set.
    seed
        Part of the name of every random stream: order of the batches, crops, flips, cutout and colours.
    cutout
        Side of the square set to 0 in normalised training images, pixels; 0 for none.
    augment
        Whether training images are randomly cropped and, where a mirrored image keeps its class, flipped. Cutout,
        ``color_jitter`` and ``auto_augment`` are separate.
    crop
        How training images are cropped. ``'padded'``: they are shifted by up to an eighth of the side, over black.
        ``'resized'``: a random part of the image at its own size, of 0.08 to 1 of its area and a ratio of 3:4 to 4:3,
        is resized, as for ImageNet.
    color_jitter
        How far brightness, contrast and saturation of training images change, as in timm: one number for all, three
        numbers, or four with that of the hue; 0 for none.
    auto_augment
        Policy that changes training images after crop and flip, by timm's name, e.g. ``'rand-m9-mstd0.5'``; None for
        none.
    num_workers
        Processes that prepare batches; the batches do not depend on it.
    device
        Device that the batches are made on: the images are copied there once, and augmented there. It is for data sets
        that are held in memory; ``'cuda'`` spares a search on a GPU all waiting for data. None is the CPU here;
        ``nni-wcnas`` takes the search's device where it can.
    shortcut
        Cue that gives away the labels of training images but not those of test images: ``'colour'``, ``'dot'``,
        ``'brightness'`` or ``'noise'``, see :mod:`nni_wcnas.data.shortcut`; None for images as they are.
    strength
        Share of training images whose cue is that of their class, in [0, 1]; None is 0.95.

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
        if batch_size < 2:
            raise DataArgumentError(
                'batch_size', batch_size, 'use at least 2', reason='is too small for batch normalisation'
            )
        if num_workers < 0:
            raise DataArgumentError(
                'num_workers', num_workers, 'use 0 to load in this process', reason='must not be negative'
            )
        if num_workers and device not in (None, 'cpu'):
            raise DataArgumentError(
                'num_workers', num_workers, 'give one of the two', reason=f'prepare batches on the CPU, not on {device}'
            )
        # torchvision and timm do these one image after the other, on the CPU.
        named: dict[str, Any] = {'crop': crop, 'color_jitter': color_jitter, 'auto_augment': auto_augment}
        if is_image_by_image(named) and device not in (None, 'cpu'):
            raise DataError(
                "crop='resized', color_jitter and auto_augment change images on the CPU, not on "
                f'{device}; leave device or them out.'
            )
        # Before everything else that reads the images: a cue also changes name, mean and deviation.
        if shortcut is not None:
            images = with_shortcut(images, shortcut, 0.95 if strength is None else strength)
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
        # The rest of an epoch is a batch of its own only if it has two examples for each device. So the full size, or a
        # half that is smaller than it, decides.
        smallest = min(self.batch_size, len(self.weight_indices))
        if smallest < 2 * devices:
            raise DataError(
                f'A batch of {smallest} examples is too small for batch normalisation on {devices} devices; use at '
                f'least {2 * devices}, or fewer devices.'
            )
        if self._train.labels.device.type != 'cpu':
            raise DataError(
                f'Batches made on {self._train.labels.device} cannot be shared out over {devices} devices; leave '
                'device out.'
            )
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
        return self._loader(BatchDataset(self.images, self._store(part)), sampler)

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
        positions, store = self._positions(part), self._store(part)
        labels = store.labels.cpu()[positions]
        # Positions in the store, ascending; the stable sort by label keeps this order within a class.
        chosen = positions[rank_in_class(labels) < per_class]
        by_class = chosen[store.labels.cpu()[chosen].argsort(stable=True)]
        # Without augmentation nothing is drawn, so the seed has no effect.
        return BatchDataset(self.images, store)[BatchRequest(by_class, seed=0)]

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
        return self._loader(BatchDataset(self.images, self._train, self.augmentation), self._samplers[purpose])

    def _loader(self, dataset: BatchDataset, sampler: BatchSampler) -> DataLoader[Batch]:
        """Join a data set and a sampler; the generator keeps the loader from drawing on torch's global one."""
        # NNI's DataLoader is torch's with a record of its arguments; NNI's evaluators warn of others.
        return DataLoader(
            dataset,
            # No batching by the loader: the sampler's requests go to the data set as they are, which answers whole
            # batches.
            batch_size=None,
            sampler=sampler,
            num_workers=self.num_workers,
            generator=derive_generator(self.seed, 'workers'),
        )
