"""Stores of images: in memory as bytes, or in files that are decoded when a batch asks for them."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from .error import DataError
from .file_names import digest_by_class, names_and_sizes

__all__ = ['FileStore', 'ImageSet', 'ImageStore', 'TensorStore']

UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for files that are damaged or no images."""


class ImageStore(ABC):
    """Labelled images of one size, read by position. Never changes after it was built."""

    labels: Tensor
    """Classes, shape ``(N,)``, dtype int64."""

    def __len__(self) -> int:
        return len(self.labels)

    def __deepcopy__(self, memo: dict[int, Any]) -> ImageStore:
        # NNI copies evaluators freely; immutable images need not follow.
        return self

    @abstractmethod
    def read(self, indices: Tensor) -> Tensor:
        """Read the images at ``indices`` of shape ``(B,)``; uint8, shape ``(B, 3, H, W)``.

        Raises
        ------
        DataError
            If an image cannot be decoded.
        """

    @abstractmethod
    def open(self, index: int) -> Image.Image:
        """Return the whole image at an index, RGB, at its own size.

        Raises
        ------
        DataError
            If the image cannot be decoded.
        """

    @abstractmethod
    def fit(self, image: Image.Image) -> Tensor:
        """Convert a whole image as :meth:`read` does; uint8, shape ``(3, H, W)``."""

    def to(self, device: torch.device | str) -> ImageStore:
        """Return the same images on the device where batches are to be made.

        A store that is not in memory stays on the CPU.

        Raises
        ------
        DataError
            If the images cannot be on the device.
        """
        if torch.device(device).type != 'cpu':
            raise DataError(
                f'Images in files are decoded on the CPU, not on {device}; leave device out, and set num_workers '
                'to prepare batches in other processes.'
            )
        return self

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash the images and labels (hexadecimal sha256)."""

    @abstractmethod
    def class_digests(self, num_classes: int) -> list[str]:
        """Hash what identifies the images of each class: names and sizes of files, else the bytes."""

    def files(self) -> tuple[Path, ...]:
        """Return the image files in the order of the positions; empty for images in memory."""
        return ()


class TensorStore(ImageStore):
    """A store that holds all images in memory.

    Parameters
    ----------
    images
        All images, uint8, shape ``(N, 3, H, W)`` or, for grey images, ``(N, 1, H, W)``, which are repeated to 3
        channels.
    labels
        Classes, shape ``(N,)``, in ``[0, C)``.

    Raises
    ------
    DataError
        If the images have another shape or dtype, or there are not as many labels as images.
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise DataError(
                f'Images must be uint8 of shape (N, 3, H, W) or (N, 1, H, W), not {images.dtype} of shape '
                f'{tuple(images.shape)}; scale to 0..255 and add the channels.'
            )
        if labels.shape != images.shape[:1]:
            raise DataError(
                f'There are {len(images)} images but labels of shape {tuple(labels.shape)}; '
                f'pass one label for each image.'
            )
        # A copy where channels are repeated: read() indexes plain memory.
        self.images = images.expand(-1, 3, -1, -1).contiguous()
        self.labels = labels.long()

    def read(self, indices: Tensor) -> Tensor:
        """Read the images at ``indices``; see :meth:`ImageStore.read`."""
        return self.images[indices]

    def open(self, index: int) -> Image.Image:
        """Return the image at an index; see :meth:`ImageStore.open`."""
        return tv.to_pil_image(self.images[index])

    def fit(self, image: Image.Image) -> Tensor:
        """Convert an image, which has the final size already; see :meth:`ImageStore.fit`."""
        return tv.pil_to_tensor(image)

    def to(self, device: torch.device | str) -> TensorStore:
        """Return a store of the same images on a device.

        Raises
        ------
        DataError
            If there is no such device, or too little memory on it.
        """
        try:
            # torch tells 'cuda' and 'cuda:0' apart, but its to() finds nothing to copy then.
            if self.images.device == torch.device(device):
                return self
            return TensorStore(self.images.to(device), self.labels.to(device))
        except (RuntimeError, AssertionError) as error:  # An assertion where torch was built without CUDA.
            reason = str(error).partition('\n')[0].rstrip('.')
            raise DataError(f'The images cannot be held on {device} ({reason}); leave device out.') from error

    def fingerprint(self) -> str:
        """Hash the images and labels in memory; see :meth:`ImageStore.fingerprint`."""
        # The shape first: the same bytes could be images of other sides.
        digest = hashlib.sha256(str(tuple(self.images.shape)).encode())
        digest.update(self.images.numpy().data)
        digest.update(self.labels.numpy().data)
        return digest.hexdigest()

    def class_digests(self, num_classes: int) -> list[str]:
        """Hash the bytes of each class's images; see :meth:`ImageStore.class_digests`."""
        # (N, ...) -> (n, ...) for each class: the shape first, as in fingerprint().
        shape = str(tuple(self.images.shape[1:])).encode()
        return [hashlib.sha256(shape + self.images[self.labels == label].cpu().numpy().tobytes()).hexdigest()
                for label in range(num_classes)]


class FileStore(ImageStore):
    """A store that decodes images on demand: the shorter side is resized and the centre is cropped.

    Parameters
    ----------
    paths
        One image file for each example.
    labels
        Classes, shape ``(N,)``, in ``[0, C)``.
    image_size
        Height and width of what is read, pixels.
    crop_pct
        Share of the resized shorter side that the centre keeps, in (0, 1].
    """

    def __init__(self, paths: Sequence[Path], labels: Tensor, image_size: int, crop_pct: float = 1.0) -> None:
        if len(paths) != len(labels):
            raise DataError(
                f'There are {len(paths)} image files but {len(labels)} labels; pass one label for each file.'
            )
        self.paths = tuple(paths)
        self.labels = labels.long()
        self.image_size = image_size
        self.crop_pct = crop_pct

    def read(self, indices: Tensor) -> Tensor:
        """Decode the images at ``indices``; see :meth:`ImageStore.read`."""
        # (B, 3, H, W): fitting makes all images one size.
        return torch.stack([self.fit(self.open(index)) for index in indices.tolist()])

    def open(self, index: int) -> Image.Image:
        """Decode the image at an index; see :meth:`ImageStore.open`."""
        return open_image(self.paths[index])

    def fit(self, image: Image.Image) -> Tensor:
        """Resize an image and crop its centre; see :meth:`ImageStore.fit`."""
        return fit(image, self.image_size, self.crop_pct)

    def fingerprint(self) -> str:
        """Hash the bytes and labels of all files, and how they are resized; see :meth:`ImageStore.fingerprint`."""
        sizes = (self.image_size,) if self.crop_pct == 1 else (self.image_size, self.crop_pct)
        digest = hashlib.sha256(' '.join(map(str, sizes)).encode())
        for path in self.paths:
            # The digest of each file, not its bytes: so the borders between files count.
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        digest.update(self.labels.numpy().data)
        return digest.hexdigest()

    def class_digests(self, num_classes: int) -> list[str]:
        """Hash names and sizes of each class's files; see :meth:`ImageStore.class_digests`."""
        return digest_by_class(names_and_sizes(self.paths), self.labels.tolist(), num_classes)

    def files(self) -> tuple[Path, ...]:
        """Return the image files; see :meth:`ImageStore.files`."""
        return self.paths


def decode(path: Path, image_size: int) -> Tensor:
    """Read one image file as uint8 of shape ``(3, image_size, image_size)``.

    Raises
    ------
    DataError
        If the file is missing, truncated or not an image.
    """
    return fit(open_image(path), image_size)


def fit(image: Image.Image, image_size: int, crop_pct: float = 1.0) -> Tensor:
    """Resize the shorter side to ``image_size / crop_pct`` and crop the centre; uint8, shape ``(3, H, W)``."""
    if crop_pct == 1:
        image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BILINEAR)
    else:
        # timm's evaluation transform, which rounds the resized side down.
        image = tv.center_crop(tv.resize(image, [math.floor(image_size / crop_pct)]), [image_size])
    return tv.pil_to_tensor(image)


def open_image(path: Path) -> Image.Image:
    """Read one image file as RGB at its own size.

    Raises
    ------
    DataError
        If the file is missing, truncated or not an image.
    """
    try:
        with Image.open(path) as opened:
            refuse_deep(opened)
            # Cameras store pictures unrotated and note the rotation in the EXIF data.
            return ImageOps.exif_transpose(opened).convert('RGB')
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def refuse_deep(image: Image.Image) -> None:
    """Raise ValueError for an image of more than 8 bits a channel."""
    # Pillow's convert would clip such values at 255: nearly all would be white, without a word.
    if image.mode.startswith(('I', 'F')):
        raise ValueError(f'its mode {image.mode} has more than 8 bits a channel')


def unreadable(path: Path, error: Exception) -> DataError:
    """Say which image cannot be read, and why."""
    reason = ' '.join(str(error).split()).rstrip('.')
    return DataError(f'The image {path} cannot be read ({reason}); replace or remove the file.')


@dataclass(frozen=True)
class ImageSet:
    """A labelled image data set with its official training and test parts, before any splitting."""

    name: str
    """Identifies the data set in logs and in the names of cached files."""
    class_names: tuple[str, ...]
    """Names of the C classes, in the order of the labels."""
    image_size: int
    """Height and width, pixels."""
    mean: tuple[float, float, float]
    """Mean of each channel, in [0, 1]."""
    std: tuple[float, float, float]
    """Standard deviation of each channel, pixels in [0, 1]."""
    train: ImageStore
    """Training images and labels, in their original order."""
    test: ImageStore
    """Test images and labels."""
    flip: bool = True
    """Whether a mirrored image keeps its class."""

    def __post_init__(self) -> None:
        """Check the normalisation, and the labels against the classes.

        Raises
        ------
        DataError
            If there are fewer than two classes, a number of the normalisation is impossible, a part is empty, or a
            label is none of the classes.
        """
        if len(self.class_names) < 2:
            raise DataError(f'{self.name} has {len(self.class_names)} class; a classifier needs at least two.')
        if not all(map(math.isfinite, self.mean)) or not all(0 < value < math.inf for value in self.std):
            raise DataError(
                f'{self.name} has mean={self.mean} and std={self.std}; give finite numbers, and a std above 0.'
            )
        for part, store in (('training', self.train), ('test', self.test)):
            if not len(store):
                raise DataError(f'{self.name} has no {part} examples; add some.')
            lowest, highest = int(store.labels.min()), int(store.labels.max())
            if lowest < 0 or highest >= len(self.class_names):
                raise DataError(
                    f'The {part} labels of {self.name} reach from {lowest} to {highest}, but there are '
                    f'{len(self.class_names)} classes; number them from 0.'
                )
