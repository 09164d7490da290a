"""The data sets CIFAR-10, CIFAR-100, Fashion-MNIST, SVHN and STL-10, read by torchvision and held in memory."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import nni
import numpy as np
import torch
from torch.nn import functional as F
from torchvision import datasets

from .error import DataError
from .image_data import DataOptions, ImageData
from .store import ImageSet, TensorStore

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ['CIFAR10', 'CIFAR100', 'STL10', 'SVHN', 'Archive', 'ArchivedData', 'FashionMNIST']

UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    NotImplementedError,
    AssertionError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)
"""Errors that torchvision, pickle and scipy raise for files that are damaged."""


@dataclass(frozen=True)
class Archive:
    """What is to be known of a data set that torchvision reads."""

    name: str
    """As records and files call it."""
    title: str
    """As messages call it."""
    factory: Callable[..., Any]
    """The class of torchvision."""
    landmark: str
    """A file of it, below the root: where that is and reading fails, the data are damaged, and not missing."""
    image_size: int
    """Pixels of a side."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Mean and deviation of each channel of the training images, in [0, 1]."""
    store: Callable[[Any], TensorStore]
    """From what torchvision read to images and labels in memory."""
    train: Mapping[str, Any] = field(default_factory=lambda: {'train': True})
    test: Mapping[str, Any] = field(default_factory=lambda: {'train': False})
    """Arguments that choose a part."""
    class_names: tuple[str, ...] | None = None
    """Where torchvision does not know them."""
    flip: bool = True
    """Whether a mirrored image is still of its class."""


class ArchivedData(ImageData):
    """A data set that torchvision reads: a subclass names its :class:`Archive`.

    Parameters
    ----------
    root
        The folder that holds the data set, by the name that torchvision gives it.
    download
        Whether to fetch what is missing.
    **options
        The keyword arguments of :class:`ImageData`.

    Raises
    ------
    DataError
        If the data set is missing or damaged, or an option is out of range.
    """

    archive: ClassVar[Archive]

    def __init__(self, root: str | Path, *, download: bool = False, **options: Unpack[DataOptions]) -> None:
        archive = self.archive
        train, test = _parts(archive, root, download)
        super().__init__(
            ImageSet(
                name=archive.name,
                class_names=archive.class_names or tuple(train.classes),
                image_size=archive.image_size,
                flip=archive.flip,
                train=archive.store(train),
                test=archive.store(test),
                mean=archive.mean,
                std=archive.std,
            ),
            **options,
        )


def _store(images: np.ndarray, labels: Any) -> TensorStore:
    """Hold ``images`` of shape ``(N, 3, H, W)``, bytes, and their labels ``(N,)`` in memory."""
    return TensorStore(torch.from_numpy(images), torch.as_tensor(labels))


def _cifar(dataset: Any) -> TensorStore:
    """Hold ``dataset.data`` of shape ``(N, H, W, 3)`` in memory, channels first."""
    return _store(dataset.data.transpose(0, 3, 1, 2), dataset.targets)


def _grey(dataset: Any) -> TensorStore:
    """Hold ``dataset.data`` of shape ``(N, 28, 28)`` in memory, framed to 32x32, a side that halves three times."""
    # (N, 28, 28) -> (N, 32, 32) -> (N, 1, 32, 32).
    return TensorStore(F.pad(dataset.data, [2] * 4)[:, None], dataset.targets)


def _labelled(dataset: Any) -> TensorStore:
    """Hold ``dataset.data`` of shape ``(N, 3, H, W)`` in memory."""
    return _store(dataset.data, dataset.labels)


# Data sets that torchvision reads, one below the other.
# nni.trace records the arguments of the constructor: NNI serialises an evaluator by these, not by the images.
@nni.trace
class CIFAR10(ArchivedData):
    """CIFAR-10: 50 000 training and 10 000 test images of 32x32, 10 classes, from ``cifar-10-batches-py``."""

    archive = Archive(
        'cifar10', 'CIFAR-10', datasets.CIFAR10, 'cifar-10-batches-py/data_batch_1', 32, store=_cifar,
        # Mean and deviation are those of quark0/darts, cnn/utils.py.
        mean=(0.49139968, 0.48215827, 0.44653124), std=(0.24703233, 0.24348505, 0.26158768),
    )


@nni.trace
class CIFAR100(ArchivedData):
    """CIFAR-100: 50 000 training and 10 000 test images of 32x32, 100 fine classes, from ``cifar-100-python``."""

    archive = Archive(
        'cifar100', 'CIFAR-100', datasets.CIFAR100, 'cifar-100-python/train', 32, store=_cifar,
        # As P-DARTS and SANAS have them; others use CIFAR-10's here.
        mean=(0.5071, 0.4867, 0.4408), std=(0.2675, 0.2565, 0.2761),
    )


@nni.trace
class FashionMNIST(ArchivedData):
    """Fashion-MNIST: 60 000 training and 10 000 test grey images of 28x28, framed in black to 32x32, 10 classes."""

    archive = Archive(
        'fashion-mnist', 'Fashion-MNIST', datasets.FashionMNIST, 'FashionMNIST/raw/train-images-idx3-ubyte', 32,
        store=_grey,
        # Of the images of 28x28, without the black frame.
        mean=(0.2860, 0.2860, 0.2860), std=(0.3530, 0.3530, 0.3530),
    )


@nni.trace
class SVHN(ArchivedData):
    """Street view house numbers: 73 257 training and 26 032 test images of 32x32, 10 classes; never flipped."""

    archive = Archive(
        'svhn', 'SVHN', datasets.SVHN, 'train_32x32.mat', 32, store=_labelled,
        train={'split': 'train'}, test={'split': 'test'}, flip=False,
        # torchvision maps the archive's label 10 of a zero to class 0.
        class_names=tuple(map(str, range(10))),
        mean=(0.4377, 0.4438, 0.4728), std=(0.1980, 0.2010, 0.1970),
    )


class LabelledSTL10(datasets.STL10):
    """STL-10 without its 100 000 unlabelled images, which torchvision would check (2.8 GB) but not read here."""

    # The first two of three files: images and labels of the training set.
    train_list = datasets.STL10.train_list[:2]


@nni.trace
class STL10(ArchivedData):
    """STL-10: 5000 training and 8000 test images of 96x96, 10 classes; unlabelled images are left out.

    To download is to fetch 2.6 GB, as the archive holds the unlabelled images too.
    """

    archive = Archive(
        'stl10', 'STL-10', LabelledSTL10, 'stl10_binary/train_X.bin', 96, store=_labelled,
        train={'split': 'train'}, test={'split': 'test'},
        class_names=('airplane', 'bird', 'car', 'cat', 'deer', 'dog', 'horse', 'monkey', 'ship', 'truck'),
        # Of the 5000 training images, as code for STL-10 commonly has them.
        mean=(0.4467, 0.4398, 0.4066), std=(0.2603, 0.2566, 0.2713),
    )


def _parts(archive: Archive, root: str | Path, download: bool) -> tuple[Any, Any]:
    """Read the training and the test set, and tell a wrong path, a missing and a damaged data set apart."""
    root, title, landmark = Path(root), archive.title, archive.landmark
    if not download and not root.is_dir():
        raise DataError(
            f'The folder {root} does not exist; pass the folder that holds {Path(landmark).parts[0]}, '
            f'or download=True to fetch {title} into it.'
        )
    try:
        # torchvision has no one error for bad files, so any of many is caught and explained. `landmark`, a file of the
        # archive, then tells a damaged data set from a missing one.
        train, test = (
            archive.factory(str(root), download=download, **part) for part in (archive.train, archive.test)
        )
        return train, test
    except UNREADABLE as error:
        reason = ' '.join(str(error).split()).rstrip('.')
        if (root / landmark).exists():
            raise DataError(
                f'{title} under {root} is incomplete or damaged ({reason}); remove {root / Path(landmark).parts[0]} '
                f'and pass download=True to fetch it again.'
            ) from error
        if download:
            raise DataError(
                f'{title} could not be downloaded to {root} ({reason}); check the network and the folder, '
                f'or put {Path(landmark).parts[0]} there yourself.'
            ) from error
        raise DataError(
            f'{title} was not found under {root}; pass download=True to fetch it, or the folder that holds '
            f'{Path(landmark).parts[0]}.'
        ) from error
