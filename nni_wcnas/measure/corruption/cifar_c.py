"""Read the published arrays CIFAR-10-C and CIFAR-100-C: one file a corruption, five severities of the test set each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nni_wcnas.data import DataError
from nni_wcnas.measure.corruption.corrupted_images import CorruptedImages
from nni_wcnas.measure.corruption.severity import SEVERITIES, check_names, check_severities

if TYPE_CHECKING:
    from nni_wcnas.data import ImageData

__all__ = ['CifarC']

_EXAMPLES = 10000
"""Images of each severity: the test set of CIFAR."""
_SHAPE = (len(SEVERITIES) * _EXAMPLES, 32, 32, 3)


class CifarC(CorruptedImages):
    """The images of ``folder/<corruption>.npy``, uint8 of shape ``(50000, 32, 32, 3)``, and of ``folder/labels.npy``.

    The arrays stay on disk, mapped into memory.

    Parameters
    ----------
    folder
        The folder of the unpacked archive.
    data
        The data set that the network was trained on. It gives the classes, the normalisation and the size of batches.

    Raises
    ------
    DataError
        If the labels are missing, not as published, or not of the data's classes.
    """

    scale = 'cifar'

    def __init__(self, folder: str | Path, data: ImageData) -> None:
        self.folder = Path(folder)
        self.data = data
        self.num_classes = data.num_classes
        if data.image_size != _SHAPE[1]:
            raise DataError(
                f'The images of {self.folder} have {_SHAPE[1]} pixels, those of {data.name} {data.image_size}; '
                'give the CIFAR that the network was trained on.'
            )
        self.labels = torch.from_numpy(self._labels().astype(np.int64))

    def __len__(self) -> int:
        return _EXAMPLES

    def check(self, names: Sequence[str], severities: Sequence[int]) -> None:
        """Raise ValueError unless the array of each corruption is there and as published."""
        check_severities(severities)
        for name in names:
            self._array(name)

    def batches(self, name: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Read and normalise the images of one corruption at one severity; see :meth:`CorruptedImages.batches`."""
        check_severities([severity])
        array = self._array(name)
        # The severities follow one another in the file, each with the whole test set in the same order.
        for positions in torch.arange((severity - 1) * _EXAMPLES, severity * _EXAMPLES).split(self.data.batch_size):
            # Positions are consecutive, so a slice reads them in one go. The map is read-only, which torch would warn
            # about; the copy is not.
            images = torch.from_numpy(array[positions[0] : positions[-1] + 1].copy())
            images = images.permute(0, 3, 1, 2).float().div_(255)  # (B, H, W, 3) -> (B, 3, H, W)
            yield self.data.normalise(images), self.labels[positions]

    def _array(self, name: str) -> NDArray[np.uint8]:
        """Map the images of one corruption, all severities, shape ``(50000, 32, 32, 3)``."""
        check_names([name])
        array = _mapped(self.folder / f'{name}.npy')
        if array.dtype != np.uint8 or array.shape != _SHAPE:
            raise DataError(
                f'{self.folder / name}.npy holds {array.dtype} of shape {array.shape}, not uint8 of shape {_SHAPE}; '
                'unpack the published archive again.'
            )
        return array

    def _labels(self) -> NDArray[Any]:
        """Map the labels of all severities, shape ``(50000,)``, and check that they are those of the data."""
        path = self.folder / 'labels.npy'
        labels = _mapped(path)
        if not np.issubdtype(labels.dtype, np.integer) or labels.shape != _SHAPE[:1]:
            raise DataError(
                f'{path} holds {labels.dtype} of shape {labels.shape}, not integers of shape {_SHAPE[:1]}; '
                'unpack the published archive again.'
            )
        lowest, highest = int(labels.min()), int(labels.max())
        if lowest < 0 or highest >= self.data.num_classes:
            raise DataError(
                f'{path} holds labels from {lowest} to {highest}, but {self.data.name} has {self.data.num_classes} '
                'classes; give the folder and the data of the same CIFAR.'
            )
        # (50000,) -> (5, 10000): every severity must repeat the labels of the first.
        if (labels.reshape(len(SEVERITIES), -1) != labels[:_EXAMPLES]).any():
            raise DataError(
                f'{path} does not repeat the same {_EXAMPLES} labels for each of {len(SEVERITIES)} severities; '
                'unpack the published archive again.'
            )
        return labels


def _mapped(path: Path) -> NDArray[Any]:
    """Map an array on disk into memory, read-only."""
    try:
        # Mapped: an array has 150 MB, and there are 19. Without pickles, which could run code.
        array = np.load(path, mmap_mode='r', allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f'There is no file {path}; give the folder of the unpacked archive.') from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f'{path} is no NumPy array; unpack the published archive again.') from error
    # For a renamed .npz file np.load returns an archive, not an array.
    if not isinstance(array, np.ndarray):
        raise DataError(f'{path} is an archive of arrays, not one; give the .npy file of the published archive.')
    return array
