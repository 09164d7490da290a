"""Read the published folders of ImageNet-C: one for each corruption, severity and class."""

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
    """The images ``folder/<corruption>/<severity>/<WordNet id>/*.JPEG``, which are published with 224 pixels a side.

    Parameters
    ----------
    folder
        The folder that holds one folder for each corruption, those of all families side by side.
    wordnet_ids
        All 1000 ids of ImageNet, as :func:`wordnet_ids` returns them.
    image_size
        Side of the images that the network was trained on, pixels; others are resized to it and cut.
    batch_size
        How many images a batch has.
    mean, std
        Mean and standard deviation of each channel that the network was trained with, pixels in [0, 1].

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
        # ImageNet's validation set, which the corrupted images were made from, has 50 images of each class.
        return 50 * len(self.wordnet_ids)

    def check(self, names: Sequence[str], severities: Sequence[int]) -> None:
        """Raise ValueError unless the folder of each corruption and severity is there, with all classes."""
        check_names(names)
        check_severities(severities)
        for name in names:
            for severity in severities:
                self._classes(name, severity)

    def batches(self, name: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Decode and normalise the images of one corruption at one severity; see :meth:`CorruptedImages.batches`."""
        # The published images are cut to the centre already, so nothing more is cut off here.
        images = ClassFolder(self.folder / name / str(severity), self._classes(name, severity),
                             resize=self.image_size, image_size=self.image_size, mean=self.mean, std=self.std)
        return images.batches(self.batch_size)

    def _classes(self, name: str, severity: int) -> dict[str, int]:
        """List the class of each folder of one corruption at one severity."""
        return list_classes(self.folder / name / str(severity), self.wordnet_ids, len(self.wordnet_ids))
