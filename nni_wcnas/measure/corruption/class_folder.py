"""Read folders of images named by WordNet id: a folder's class is its place among ImageNet's 1000 sorted ids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from nni_wcnas.data import DataError
from nni_wcnas.data.augmentation import normalise
from nni_wcnas.data.image_layout import SUFFIXES
from nni_wcnas.data.store import decode

__all__ = ['MEAN', 'STD', 'ClassFolder', 'list_classes', 'wordnet_ids']

_IDS = 1000
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of each channel of ImageNet, pixels in [0, 1]."""


def wordnet_ids(class_names: Sequence[str], name: str) -> tuple[str, ...]:
    """Return ImageNet's 1000 sorted WordNet ids if they are a data set's classes: class ``k`` is the ``k``-th id.

    Parameters
    ----------
    class_names
        Names of the data set's classes, in their order. For ``image_folder`` they are the names of the class folders.
    name
        Name of the data set, for messages.

    Raises
    ------
    DataError
        If the names are not 1000 different ids such as n01440764, sorted.
    """
    ids = tuple(class_names)
    odd = next((each for each in ids if not re.fullmatch(r'n\d{8}', each)), None)
    # sorted(set(...)) differs for wrong order and for an id that stands twice.
    if len(ids) != _IDS or odd is not None or list(ids) != sorted(set(ids)):
        found = f'{len(ids)} classes' if odd is None else f'{len(ids)} classes, {odd[:40]!r} among them'
        raise DataError(
            f"{name} has {found}, and not ImageNet's {_IDS} in folders named by WordNet id; ImageNet-C, -A, -R and "
            '-Sketch are for a network that was trained on these.'
        )
    return ids


def list_classes(folder: Path, wordnet_ids: Sequence[str], count: int) -> dict[str, int]:
    """Find the class of each folder in a folder.

    Parameters
    ----------
    folder
        The folder that holds one folder for each class.
    wordnet_ids
        All ids, sorted, as :func:`wordnet_ids` returns them.
    count
        How many classes the set has.

    Returns
    -------
    dict
        Class by folder name, in the order of the classes.

    Raises
    ------
    DataError
        If the folder is missing, a folder in it is not named after an id of ImageNet, or there are not ``count``.
    """
    if not folder.is_dir():
        raise DataError(f'There is no folder {folder}; give the folder that holds one folder for each WordNet id.')
    names = sorted(child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith('.'))
    places = {name: place for place, name in enumerate(wordnet_ids)}
    odd = [name for name in names if name not in places]
    if odd:
        raise DataError(
            f"{folder / odd[0]} is named after none of ImageNet's {len(places)} WordNet ids; rename or remove it."
        )
    if len(names) != count:
        raise DataError(
            f'{folder} holds {len(names)} class folders, but the set has {count}; unpack its archive again.'
        )
    # Sorted names of sorted ids: ascending classes.
    return {name: places[name] for name in names}


class ClassFolder:
    """The images of class folders, decoded as they are asked for.

    Parameters
    ----------
    folder
        The folder that holds one folder for each class.
    classes
        Class by folder name.
    resize
        Length that the shorter side of an image is resized to, pixels.
    image_size
        Side of the centre that is cut out, pixels, at most ``resize``.
    mean, std
        Mean and standard deviation of each channel, pixels in [0, 1].

    Raises
    ------
    DataError
        If ``image_size`` is out of range, or a class has no image. An image that cannot be decoded raises when it is
        read.
    """

    def __init__(self, folder: Path, classes: dict[str, int], *, resize: int, image_size: int,
                 mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        if not 1 <= image_size <= resize:
            raise DataError(f'image_size={image_size} must lie between 1 and resize={resize}; give a larger resize.')
        self.resize = resize
        self.image_size = image_size
        self.mean = mean
        self.std = std
        self.paths: list[Path] = []
        labels = []
        for name, label in classes.items():
            # Sorted, as folders list their files in any order. Hidden files are what some systems leave in archives.
            files = sorted(path for path in (folder / name).iterdir()
                           if path.suffix.lower() in SUFFIXES and not path.name.startswith('.'))
            if not files:
                raise DataError(f'The class folder {folder / name} holds no images; unpack the archive again.')
            self.paths += files
            labels += [label] * len(files)
        self.labels = torch.tensor(labels)

    def __len__(self) -> int:
        return len(self.paths)

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised images ``(B, 3, image_size, image_size)`` and their classes ``(B,)``, in order."""
        margin = (self.resize - self.image_size) // 2
        centre = slice(margin, margin + self.image_size)
        for positions in torch.arange(len(self)).split(batch_size):
            # A square of side `resize` first, of which the centre is cut: the same pixels as resizing the shorter side.
            decoded = [decode(self.paths[position], self.resize) for position in positions.tolist()]
            images = torch.stack(decoded)[:, :, centre, centre].float().div_(255)
            yield normalise(images, self.mean, self.std), self.labels[positions]
