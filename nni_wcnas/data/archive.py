"""The data sets CIFAR-10, CIFAR-100, Fashion-MNIST, SVHN and STL-10, read by torchvision and held in memory."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

__all__ = ['CIFAR10', 'CIFAR100', 'STL10', 'SVHN', 'FashionMNIST']

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


# nni.trace records the arguments of the constructor: NNI serialises an evaluator by these, not by the images.
@nni.trace
class CIFAR10(ImageData):
    """CIFAR-10: 50 000 training and 10 000 test images of 32x32, 10 classes.

    Parameters
    ----------
    root
        The folder that holds ``cifar-10-batches-py``.
    download
        Whether to fetch what is missing.
    **options
        The keyword arguments of :class:`ImageData`.

    Raises
    ------
    DataError
        If the data set is missing or damaged, or an option is out of range.
    """

    def __init__(self, root: str | Path, *, download: bool = False, **options: Unpack[DataOptions]) -> None:
        train, test = _parts(
            'CIFAR-10',
            root,
            'cifar-10-batches-py/data_batch_1',
            download,
            [
                # Functions, so that torchvision reads inside _parts, where its errors are explained.
                lambda: datasets.CIFAR10(root, train=True, download=download),
                lambda: datasets.CIFAR10(root, train=False, download=download),
            ],
        )
        # The mean and deviation are those of quark0/darts, cnn/utils.py.
        super().__init__(
            ImageSet(
                name='cifar10',
                class_names=tuple(train.classes),
                image_size=32,
                train=_cifar(train),
                test=_cifar(test),
                mean=(0.49139968, 0.48215827, 0.44653124),
                std=(0.24703233, 0.24348505, 0.26158768),
            ),
            **options,
        )


@nni.trace
class CIFAR100(ImageData):
    """CIFAR-100: 50 000 training and 10 000 test images of 32x32, 100 fine classes.

    Parameters
    ----------
    root
        The folder that holds ``cifar-100-python``.
    download
        Whether to fetch what is missing.
    **options
        The keyword arguments of :class:`ImageData`.

    Raises
    ------
    DataError
        If the data set is missing or damaged, or an option is out of range.
    """

    def __init__(self, root: str | Path, *, download: bool = False, **options: Unpack[DataOptions]) -> None:
        train, test = _parts(
            'CIFAR-100',
            root,
            'cifar-100-python/train',
            download,
            [
                lambda: datasets.CIFAR100(root, train=True, download=download),
                lambda: datasets.CIFAR100(root, train=False, download=download),
            ],
        )
        super().__init__(
            ImageSet(
                name='cifar100',
                class_names=tuple(train.classes),
                image_size=32,
                train=_cifar(train),
                test=_cifar(test),
                # As P-DARTS and SANAS have them; others use CIFAR-10's here.
                mean=(0.5071, 0.4867, 0.4408),
                std=(0.2675, 0.2565, 0.2761),
            ),
            **options,
        )


@nni.trace
class FashionMNIST(ImageData):
    """Fashion-MNIST: 60 000 training and 10 000 test grey images of 28x28, framed in black to 32x32, 10 classes.

    Parameters
    ----------
    root
        The folder that holds ``FashionMNIST/raw``.
    download
        Whether to fetch what is missing.
    **options
        The keyword arguments of :class:`ImageData`.

    Raises
    ------
    DataError
        If the data set is missing or damaged, or an option is out of range.
    """

    def __init__(self, root: str | Path, *, download: bool = False, **options: Unpack[DataOptions]) -> None:
        train, test = _parts(
            'Fashion-MNIST',
            root,
            'FashionMNIST/raw/train-images-idx3-ubyte',
            download,
            [
                lambda: datasets.FashionMNIST(root, train=True, download=download),
                lambda: datasets.FashionMNIST(root, train=False, download=download),
            ],
        )
        super().__init__(
            ImageSet(
                name='fashion-mnist',
                class_names=tuple(train.classes),
                image_size=32,
                train=_grey(train),
                test=_grey(test),
                # Of the images of 28x28, without the black frame.
                mean=(0.2860, 0.2860, 0.2860),
                std=(0.3530, 0.3530, 0.3530),
            ),
            **options,
        )


@nni.trace
class SVHN(ImageData):
    """Street view house numbers: 73 257 training and 26 032 test images of 32x32, 10 classes; never flipped.

    Parameters
    ----------
    root
        The folder that holds ``train_32x32.mat`` and ``test_32x32.mat``.
    download
        Whether to fetch what is missing.
    **options
        The keyword arguments of :class:`ImageData`.

    Raises
    ------
    DataError
        If the data set is missing or damaged, or an option is out of range.
    """

    def __init__(self, root: str | Path, *, download: bool = False, **options: Unpack[DataOptions]) -> None:
        train, test = _parts(
            'SVHN',
            root,
            'train_32x32.mat',
            download,
            [
                lambda: datasets.SVHN(str(root), split='train', download=download),
                lambda: datasets.SVHN(str(root), split='test', download=download),
            ],
        )
        super().__init__(
            ImageSet(
                name='svhn',
                # torchvision maps the archive's label 10 of a zero to class 0.
                class_names=tuple(map(str, range(10))),
                image_size=32,
                flip=False,
                train=_store(train.data, train.labels),
                test=_store(test.data, test.labels),
                mean=(0.4377, 0.4438, 0.4728),
                std=(0.1980, 0.2010, 0.1970),
            ),
            **options,
        )


class LabelledSTL10(datasets.STL10):
    """STL-10 without its 100 000 unlabelled images, which torchvision would check (2.8 GB) but not read here."""

    # The first two of three files: images and labels of the training set.
    train_list = datasets.STL10.train_list[:2]


@nni.trace
class STL10(ImageData):
    """STL-10: 5000 training and 8000 test images of 96x96, 10 classes; unlabelled images are left out.

    Parameters
    ----------
    root
        The folder that holds ``stl10_binary``.
    download
        Whether to fetch what is missing (2.6 GB, as the archive holds the unlabelled images too).
    **options
        The keyword arguments of :class:`ImageData`.

    Raises
    ------
    DataError
        If the data set is missing or damaged, or an option is out of range.
    """

    def __init__(self, root: str | Path, *, download: bool = False, **options: Unpack[DataOptions]) -> None:
        train, test = _parts(
            'STL-10',
            root,
            'stl10_binary/train_X.bin',
            download,
            [
                lambda: LabelledSTL10(root, split='train', download=download),
                lambda: LabelledSTL10(root, split='test', download=download),
            ],
        )
        super().__init__(
            ImageSet(
                name='stl10',
                class_names=('airplane', 'bird', 'car', 'cat', 'deer', 'dog', 'horse', 'monkey', 'ship', 'truck'),
                image_size=96,
                train=_store(train.data, train.labels),
                test=_store(test.data, test.labels),
                # Of the 5000 training images, as code for STL-10 commonly has them.
                mean=(0.4467, 0.4398, 0.4066),
                std=(0.2603, 0.2566, 0.2713),
            ),
            **options,
        )


def _parts(title: str, root: str | Path, landmark: str, download: bool, parts: list[Callable[[], Any]]) -> list[Any]:
    """Read the parts of a data set, and tell a wrong path, a missing and a damaged data set apart."""
    root = Path(root)
    if not download and not root.is_dir():
        raise DataError(
            f'The folder {root} does not exist; pass the folder that holds {Path(landmark).parts[0]}, '
            f'or download=True to fetch {title} into it.'
        )
    try:
        # torchvision has no one error for bad files, so any of many is caught and explained. `landmark`, a file of the
        # archive, then tells a damaged data set from a missing one.
        return [part() for part in parts]
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
