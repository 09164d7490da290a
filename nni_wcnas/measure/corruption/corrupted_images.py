"""Give labelled images under each corruption: made from a test set here, read from published files elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nni_wcnas.data.seeding import derive_seed
from nni_wcnas.measure.corruption.image import corrupt
from nni_wcnas.measure.corruption.severity import Scale, check_names, check_scale, check_severities

if TYPE_CHECKING:
    from nni_wcnas.data import ImageData

__all__ = ['CorruptedImages', 'CorruptedTestSet']


class CorruptedImages(ABC):
    """The same labelled images under many corruptions.

    Attributes
    ----------
    scale
        Which table of severities the images were made with.
    num_classes
        Number of classes that the labels are of.
    """

    scale: Scale
    num_classes: int

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images of one corruption at one severity."""

    @abstractmethod
    def check(self, names: Sequence[str], severities: Sequence[int]) -> None:
        """Raise ValueError unless the images of all these are there, before the hours that reading them takes."""

    @abstractmethod
    def batches(self, name: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised images ``(B, 3, H, W)`` and their classes ``(B,)``, in the order of the test set."""


class CorruptedTestSet(CorruptedImages):
    """The test set of some data, corrupted while it is read.

    Each image has a random stream of its own, named by the seed, the corruption, the severity and the image's position
    in the test set: nothing depends on the size of the batches, on the order, or on what else is measured.

    Parameters
    ----------
    data
        Gives the test set, its normalisation and the size of the batches.
    scale
        ``'cifar'`` for images of about 32 pixels, ``'imagenet'`` for about 224.
    seed
        Part of the name of every random stream.

    Raises
    ------
    ValueError
        If there is no such scale.
    """

    def __init__(self, data: ImageData, *, scale: Scale, seed: int = 0) -> None:
        check_scale(scale)
        self.data = data
        self.scale = scale
        self.num_classes = data.num_classes
        self.seed = seed

    def __len__(self) -> int:
        return len(self.data.images.test)

    def check(self, names: Sequence[str], severities: Sequence[int]) -> None:
        """Raise ValueError unless there are such corruptions and severities; all images can be made then."""
        check_names(names)
        check_severities(severities)

    def batches(self, name: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Corrupt and normalise the test images; see :meth:`CorruptedImages.batches`."""
        test = self.data.images.test
        for positions in torch.arange(len(test)).split(self.data.batch_size):
            clean = test.read(positions).permute(0, 2, 3, 1).numpy()  # (B, 3, H, W) -> (B, H, W, 3)
            corrupted = np.stack([
                corrupt(image, name, severity, self._generator(name, severity, position), scale=self.scale)
                for image, position in zip(clean, positions.tolist())
            ])
            # (B, H, W, 3) -> (B, 3, H, W). The corruption is cut to bytes before, as a published file would be.
            images = torch.from_numpy(corrupted).permute(0, 3, 1, 2).float().div_(255)
            yield self.data.normalise(images), test.labels[positions]

    def _generator(self, name: str, severity: int, position: int) -> np.random.Generator:
        """Build the random stream of one image under one corruption at one severity."""
        return np.random.default_rng(derive_seed(self.seed, 'corruption', name, severity, position))
