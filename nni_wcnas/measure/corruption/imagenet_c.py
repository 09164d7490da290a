"""The published folders of ImageNet-C: one a corruption, severity and class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from nni_wcnas.data import DataError
from nni_wcnas.measure.corruption.class_folder import MEAN, STD, ClassFolder, list_classes
from nni_wcnas.measure.corruption.corrupted_images import CorruptedImages
from nni_wcnas.measure.corruption.severity import check_names, check_severities

__all__ = ['ImageNetC']


class ImageNetC(CorruptedImages):
    """``folder/<corruption>/<severity>/<WordNet id>/*.JPEG``, whose images have 224 pixels.

    Parameters
    ----------
    folder
        Holds one folder a corruption, those of all families side by side.
    wordnet_ids
        All of ImageNet's, as of :func:`wordnet_ids`.
    image_size
        What the network was trained on, pixels; images of another size are resized to it and cut.
    batch_size
        Images at once.
    mean, std
        What the network was trained with: of each channel, pixels in [0, 1].

    Raises
    ------
    DataError
        If the folder is missing.
    """

    scale = 'imagenet'

    def __init__(self, folder: str | Path, wordnet_ids: Sequence[str], *, image_size: int = 224, batch_size: int = 100,
                 mean: tuple[float, float, float] = MEAN, std: tuple[float, float, float] = STD) -> None:
        self.folder = Path(folder)
        self.wordnet_ids = wordnet_ids
        self.image_size = image_size
        self.batch_size = batch_size
        self.mean = mean
        self.std = std
        self.num_classes = len(wordnet_ids)
        if not self.folder.is_dir():
            raise DataError(f'There is no folder {self.folder}; give the one that holds a folder for each corruption.')

    def __len__(self) -> int:
        return 50 * len(self.wordnet_ids)

    def check(self, names: Sequence[str], severities: Sequence[int]) -> None:
        """Raise ValueError unless the folder of each corruption and severity is there, with all classes."""
        check_names(names)
        check_severities(severities)
        for name in names:
            for severity in severities:
                self._classes(name, severity)

    def batches(self, name: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Decode and normalise; see :meth:`CorruptedImages.batches`."""
        images = ClassFolder(self.folder / name / str(severity), self._classes(name, severity),
                             resize=self.image_size, image_size=self.image_size, mean=self.mean, std=self.std)
        return images.batches(self.batch_size)

    def _classes(self, name: str, severity: int) -> dict[str, int]:
        """Class by folder name."""
        return list_classes(self.folder / name / str(severity), self.wordnet_ids, len(self.wordnet_ids))
