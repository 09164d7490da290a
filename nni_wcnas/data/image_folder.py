"""A data set in a folder of images, with one sub-folder for each class, decoded on demand."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import nni
import torch

from .error import DataArgumentError, DataError
from .image_data import DataOptions, ImageData
from .split import interleave
from .store import FileStore, ImageSet

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ['ImageFolder']

SUFFIXES = frozenset({'.bmp', '.gif', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp'})

TEST_SHARE = 0.2
"""Share of each class that becomes the test set where there are no train and test folders."""


@nni.trace
class ImageFolder(ImageData):
    """Images from ``root/train/<class>/*.png`` and ``root/test/<class>/*.png``, or from ``root/<class>/*.png``.

    Where ``root/test`` is missing or, as ImageNet's, without classes, ``root/val`` takes its place.
    Without train and test folders, a fifth of each class (at least one image) becomes the test set. Files are put in an
    order that depends on their names alone (hashed, classes interleaved), so that each half of the training set holds
    all classes.

    Parameters
    ----------
    root
        Path of the folder.
    image_size
        Height and width that images are resized and centre-cropped to, pixels.
    crop_pct
        Share of the resized shorter side that the centre keeps, in (0, 1], as in timm: 0.875 for ImageNet's 224 of 256
        pixels.
    flip
        Whether a mirrored image keeps its class; False for digits, letters and road signs.
    mean, std
        Mean and deviation of each channel, pixels in [0, 1]; ImageNet's by default.
    **options
        The keyword arguments of :class:`ImageData`.

    Raises
    ------
    DataError
        If the folder is missing, has fewer than two classes or an empty one, or train and test have different classes.
        A file that cannot be decoded raises when a batch first needs it.
    """

    in_memory = False

    def __init__(
        self,
        root: str | Path,
        *,
        image_size: int = 32,
        crop_pct: float = 1.0,
        flip: bool = True,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
        **options: Unpack[DataOptions],
    ) -> None:
        root = Path(root)
        if image_size < 8:
            raise DataArgumentError('image_size', image_size, 'use at least 8', reason='is too small')
        if not 0 < crop_pct <= 1:
            raise DataArgumentError(
                'crop_pct', crop_pct, 'use 1 to keep all of it', reason='must lie above 0 and at most at 1'
            )
        if not root.is_dir():
            raise DataError(f'The folder {root} does not exist; pass the folder that holds one folder for each class.')
        train, test = _files(root)
        super().__init__(
            ImageSet(
                # Resolved, as a relative path such as '.' has no name.
                name=root.resolve().name,
                class_names=tuple(train),
                image_size=image_size,
                mean=(mean[0], mean[1], mean[2]),
                std=(std[0], std[1], std[2]),
                train=_store(train, image_size, crop_pct),
                test=_store(test, image_size, crop_pct),
                flip=flip,
            ),
            **options,
        )


def _files(root: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """List the image files of the training and the test set by class."""
    held_out = _held_out(root)
    official = {part: (root / part).is_dir() for part in ('train', held_out)}
    if all(official.values()):
        train, test = _classes(root / 'train'), _classes(root / held_out)
        # Classes are sorted by name, and labels count them: equal lists mean equal labels.
        if list(train) != list(test):
            odd = min(set(train) ^ set(test))
            raise DataError(
                f'The class {odd} is in only one of {root / "train"} and {root / held_out}; '
                f'give both the same class folders.'
            )
        return train, test
    if any(official.values()):
        # False sorts before True, so the folder that exists comes first.
        there, missing = sorted(official, key=lambda part: not official[part])
        raise DataError(
            f'{root} has a folder {there} but no folder {missing}; add it, or pass {root / there} to have '
            f'a fifth of it held out.'
        )
    train, test = {}, {}
    for name, files in _classes(root).items():
        # At least one, so that the test set has all classes.
        count = max(1, round(TEST_SHARE * len(files)))
        train[name], test[name] = files[count:], files[:count]
    return train, test


def _held_out(root: Path) -> str:
    """Return the name of the test set's folder: 'val' where 'test' is missing or has no class folders, else 'test'."""
    has_classes = any(child.is_dir() for child in (root / 'test').glob('*'))
    return 'val' if not has_classes and (root / 'train').is_dir() and (root / 'val').is_dir() else 'test'


def _classes(folder: Path) -> dict[str, list[Path]]:
    """List the images of each class folder, in an order that is unrelated to their content."""
    found = {}
    for child in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith('.')):
        # Folders inside a class folder belong to the class.
        files = [path for path in child.rglob('*') if path.suffix.lower() in SUFFIXES and path.is_file()]
        if not files:
            raise DataError(f'The class folder {child} holds no images; add some or remove it.')
        # Sorted by a hash of the name: names often follow time or place, and the halves are cut from this order. A
        # hash, not a seed, as the split must be the same for all searches.
        found[child.name] = sorted(
            files, key=lambda path: hashlib.sha256(path.relative_to(child).as_posix().encode()).digest()
        )
    if len(found) < 2:
        raise DataError(f'The image folder {folder} has {len(found)} class folders; a classifier needs at least two.')
    return found


def _store(classes: dict[str, list[Path]], image_size: int, crop_pct: float) -> FileStore:
    """Make a store of all files, with the classes interleaved so that each part of it holds all of them."""
    paths = [path for files in classes.values() for path in files]
    labels = torch.tensor([label for label, files in enumerate(classes.values()) for _ in files], dtype=torch.int64)
    order = interleave(labels)
    return FileStore([paths[index] for index in order.tolist()], labels[order], image_size, crop_pct)
