"""Folders of images named by WordNet id, and the classes that they are: places among ImageNet's 1000 sorted ids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from nni_wcnas.data import DataError
from nni_wcnas.data.augmentation import normalise
from nni_wcnas.data.image_folder import SUFFIXES
from nni_wcnas.data.store import decode

__all__ = ['MEAN', 'STD', 'ClassFolder', 'list_classes', 'wordnet_ids']

_IDS = 1000
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of each channel of ImageNet, pixels in [0, 1]."""


def wordnet_ids(class_names: Sequence[str], name: str) -> tuple[str, ...]:
    """The classes of a data set as ImageNet's 1000 WordNet ids, sorted: class ``k`` of the network is the ``k``-th.

    Parameters
    ----------
    class_names
        Of the data set, in the order of its classes: of ``image_folder`` the names of the class folders.
    name
        Of the data set.

    Raises
    ------
    DataError
        If they are not 1000 different ids such as n01440764, sorted.
    """
    ids = tuple(class_names)
    odd = next((each for each in ids if not re.fullmatch(r'n\d{8}', each)), None)
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
        Holds one folder a class.
    wordnet_ids
        All ids, sorted, as of :func:`wordnet_ids`.
    count
        How many classes the set has.

    Returns
    -------
    dict
        Class by folder name, in the order of the classes.

    Raises
    ------
    DataError
        If the folder is missing, one in it is no id of ImageNet, or there are not as many as the set has.
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
    return {name: places[name] for name in names}


class ClassFolder:
    """The images of class folders, decoded as they are asked for.

    Parameters
    ----------
    folder
        Holds one folder a class.
    classes
        Class by folder name.
    resize
        The shorter side becomes this long, pixels.
    image_size
        The centre that is cut out, pixels.
    mean, std
        Of each channel, pixels in [0, 1].

    Raises
    ------
    DataError
        If a class has no image. An image that cannot be decoded raises when it is read.
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
        """Normalised images ``(B, 3, image_size, image_size)`` and their classes ``(B,)``, in order."""
        margin = (self.resize - self.image_size) // 2
        centre = slice(margin, margin + self.image_size)
        for positions in torch.arange(len(self)).split(batch_size):
            decoded = [decode(self.paths[position], self.resize) for position in positions.tolist()]
            images = torch.stack(decoded)[:, :, centre, centre].float().div_(255)
            yield normalise(images, self.mean, self.std), self.labels[positions]
