"""The handwritten digits that come with scikit-learn: a real data set that needs no download and little time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nni
import torch
from torch.nn import functional as F

from .image_data import DataOptions, ImageData
from .split import rank_in_class
from .store import ImageSet, TensorStore

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ['Digits']


@nni.trace
class Digits(ImageData):
    """``sklearn.datasets.load_digits``: 1797 grey images of 8x8 pixels, 10 classes, resized to 16x16.

    There is no official split. The first of every five examples of each class is a test example (364 in all); the other
    1433 are the training set, in their original order. Digits are never flipped.

    Parameters
    ----------
    **options
        The keyword arguments of :class:`ImageData`.
    """

    def __init__(self, **options: Unpack[DataOptions]) -> None:
        super().__init__(load_digits(), **options)


def load_digits() -> ImageSet:
    """Read the digits and split them into training and test set; see :class:`Digits`."""
    from sklearn import datasets  # Here, because no other data set needs it.

    loaded = datasets.load_digits()
    # scikit-learn gives 17 grey levels, 0 to 16.
    grey = torch.from_numpy(loaded.images).float()[:, None] / 16  # (N, 1, 8, 8) in [0, 1]
    # (N, 1, 16, 16); TensorStore repeats the channel.
    pixels = F.interpolate(grey, size=(16, 16), mode='bilinear').mul(255).round().byte()
    labels = torch.from_numpy(loaded.target).long()
    test = rank_in_class(labels) % 5 == 0
    return ImageSet(
        name='digits',
        class_names=tuple(map(str, range(10))),
        image_size=16,
        flip=False,
        mean=(0.3054, 0.3054, 0.3054),
        std=(0.3188, 0.3188, 0.3188),  # Of the 1433 training images.
        train=TensorStore(pixels[~test], labels[~test]),
        test=TensorStore(pixels[test], labels[test]),
    )
