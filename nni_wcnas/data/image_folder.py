"""A data set in a folder of images, with one sub-folder for each class, decoded on demand."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import nni
import torch

from .error import DataArgumentError, DataError
from .image_data import DataOptions, ImageData
from .image_layout import find_parts, list_class_files, refuse_missing_classes, say_left_out
from .split import interleave
from .store import FileStore, ImageSet

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ['ImageFolder']

TEST_SHARE = 0.2
"""Share of the images that is expected in the test set where there are no train and test folders."""


@nni.trace
class ImageFolder(ImageData):
    """Images from ``root/train/<class>/*.png`` and ``root/test/<class>/*.png``, or from ``root/<class>/*.png``.

    The folders may also be called ``training`` and ``testing``, in any case, and lie below a folder that holds nothing
    else. Where ``root/test`` is missing or, as ImageNet's, without classes, ``val``, ``valid`` or ``validation`` takes
    its place. Hidden and system files, files of other kinds and broken links are left out, counted, and told on stderr.

    Without train and test folders, about a fifth of the images become the test set: those whose names hash low. Each
    file is on its side whatever else lies there, so after images were removed or added no trained image is tested. The
    share of a small class varies by chance. Training files are put in the order of the hashes, classes interleaved, so
    that each half of the training set holds all classes.

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
        If the folder is missing, has fewer than two classes or an empty one, train and test have different classes, or
        a class would be missing in the training or the test set. A file that cannot be decoded raises when a batch
        first needs it; :func:`nni_wcnas.data.image_check.check_images` finds it before.
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
    """List the image files of the training and the test set by class, and say on stderr what is left out."""
    left_out: Counter[str] = Counter()
    first, second = find_parts(root, left_out)
    train = list_class_files(first, left_out)
    if second is None:
        train, test = _held_out(train, first)
    else:
        test = list_class_files(second, left_out)
        # Classes are sorted by name, and labels count them: equal lists mean equal labels.
        refuse_missing_classes(train, test, (first, second))
        train, test = ({name: sorted(files, key=lambda path: _digest(path, folder))
                        for name, files in part.items()} for part, folder in ((train, first), (test, second)))
    if line := say_left_out(left_out):
        print(f'{root}: {line}', file=sys.stderr)
    return train, test


def _held_out(classes: dict[str, list[Path]], folder: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Divide each class by the hash of each file's name alone: no file changes sides because of another.

    In a class so small that a side would be empty, it gets the one image whose hash is nearest to it. That is the only
    case in which another image of the class matters.
    """
    train, test = {}, {}
    for name, files in classes.items():
        digests = {path: _digest(path, folder) for path in files}
        ordered = sorted(files, key=digests.__getitem__)
        # The hash's first 64 bits are uniform, so a fifth of the names is expected below a fifth of their range.
        below = sum(int.from_bytes(digests[path][:8], 'big') < TEST_SHARE * 2**64 for path in ordered)
        if len(ordered) < 2:
            raise DataError(
                f'The class folder {folder / name} has {len(files)} image, which cannot be divided into training and '
                f'test; add images, or make folders train and test with the same class folders to divide them yourself.'
            )
        count = min(max(below, 1), len(ordered) - 1)
        test[name], train[name] = ordered[:count], ordered[count:]
    return train, test


def _digest(path: Path, folder: Path) -> bytes:
    """Hash a file's name from its class folder on.

    Names often follow time or place, and the halves are cut from the order of the hashes. A hash, not a seed, as the
    split must be the same for all searches. With the class: where the files of all classes are numbered alike, a hash
    without it would give all of them the same share, however far from a fifth.
    """
    return hashlib.sha256(path.relative_to(folder).as_posix().encode(errors='surrogateescape')).digest()


def _store(classes: dict[str, list[Path]], image_size: int, crop_pct: float) -> FileStore:
    """Make a store of all files, with the classes interleaved so that each part of it holds all of them."""
    paths = [path for files in classes.values() for path in files]
    labels = torch.tensor([label for label, files in enumerate(classes.values()) for _ in files], dtype=torch.int64)
    order = interleave(labels)
    return FileStore([paths[index] for index in order.tolist()], labels[order], image_size, crop_pct)
