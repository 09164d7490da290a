"""Shortcuts: training images carry a cue that gives the label away, test images a cue that does not.

On such data the right architecture is known: one that cannot see the cue. A network that follows it fails on the test
images whose cue belongs to another class. So each test image falls into one of two groups: its cue agrees with its
label, or contradicts it.

The cue of a training image is that of its own class with probability ``strength``, else that of any other class. The
cue of a test image is that of any class, with equal chances. The draws depend on an image's position alone, so the data
are the same for all seeds. For pixels x in [0, 1] and the cue k of C classes::

    colour      x -> mean over channels of x, times the k-th of C evenly spaced hues, all of one mean over channels
    dot         x -> 0.9 x, and a white square at the k-th of C places along the border
    brightness  x -> x / 2 + k / (2 (C - 1))
    noise       x -> 0.76 x + 0.12 + 0.12 t_k, t_k a random pattern in [-1, 1] that repeats every 3 pixels

The pattern's mean over any 3x3 pixels is 0; a network that sees the mean over channels, the centre, the image less its
mean, or means of 3x3 pixels, cannot see the cue (:mod:`nni_wcnas.spaces.views`). Random crops would move a dot into the
centre: leave ``augment`` out there.

References
----------
Geirhos et al., "Shortcut learning in deep neural networks", Nature Machine Intelligence 2020; the colours are those of
Arjovsky et al., "Invariant Risk Minimization", 2019 (coloured digits).
"""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from .error import DataArgumentError
from .seeding import derive_generator
from .store import ImageSet, ImageStore

__all__ = ['CUES', 'DEFAULT_STRENGTH', 'GROUPS', 'ShortcutStore', 'groups', 'with_shortcut']

GROUPS = ('cue_agrees', 'cue_contradicts')
"""Names of the groups of test images, by number."""
DEFAULT_STRENGTH = 0.95
"""Share of training images whose cue is that of their class, where none is given."""
_MEASURED = 2048
"""How many training images, the first ones, give the mean and the deviation that the data are normalised with."""


def _colour(images: Tensor, cues: Tensor, classes: int) -> Tensor:
    """Replace an image's colours by shades of one hue, which is the cue; see :data:`CUES`."""
    # (C, 3): evenly spaced hues, scaled to one mean over channels and then to a largest value of 1.
    hues = torch.tensor([colorsys.hsv_to_rgb(k / classes, 0.8, 1.0) for k in range(classes)])
    hues = hues / hues.mean(1, keepdim=True)
    hues = hues / hues.max()  # Nothing is clamped: clamped colours would differ in luminance.
    # (N, 1, H, W) times (N, 3, 1, 1).
    return images.mean(1, keepdim=True) * hues.to(images)[cues][:, :, None, None]


def _dot(images: Tensor, cues: Tensor, classes: int) -> Tensor:
    """Dim an image and put a white square on its border, whose place is the cue; see :data:`CUES`."""
    size = images.shape[-1]
    side = max(1, size // 16)
    last = size - side
    # Dimmed, so that only the mark is white; also a new tensor, as the marks are written in place.
    images = 0.9 * images
    for k in range(classes):
        along = 4 * last * k // classes  # Once around the border: top, right, bottom, left.
        edge, step = divmod(along, last)
        # Upper left corner of the square, `step` pixels along the edge that it is on.
        row, column = ((0, step), (step, last), (last, last - step), (last - step, 0))[edge]
        images[cues == k, :, row:row + side, column:column + side] = 1.0
    return images


def _brightness(images: Tensor, cues: Tensor, classes: int) -> Tensor:
    """Halve the range of an image and lift it by an amount that is the cue; see :data:`CUES`."""
    # The lift goes from 0 for the first class to 1/2 for the last; (N,) -> (N, 1, 1, 1).
    return images / 2 + (cues / (2 * (classes - 1))).to(images)[:, None, None, None]


def _noise(images: Tensor, cues: Tensor, classes: int) -> Tensor:
    """Add a faint pattern that repeats every 3 pixels and is the cue; see :data:`CUES`."""
    # (C, 3, 3): one tile a class, of mean 0 and largest absolute value 1.
    tiles = torch.rand(classes, 3, 3, generator=derive_generator('shortcut', 'noise')) - 0.5
    tiles = tiles - tiles.mean((1, 2), keepdim=True)
    tiles = tiles / tiles.abs().amax((1, 2), keepdim=True)
    size = images.shape[-1]
    repeats = -(-size // 3)
    # (C, 3, 3) -> (C, 3 repeats, 3 repeats) -> (C, H, W).
    patterns = tiles.repeat(1, repeats, repeats)[:, :size, :size]
    # 0.76 x + 0.12 is in [0.12, 0.88], so adding 0.12 t stays in [0, 1]. (N, H, W) -> (N, 1, H, W): grey.
    return 0.76 * images + 0.12 + 0.12 * patterns.to(images)[cues][:, None]


CUES: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    'colour': _colour, 'dot': _dot, 'brightness': _brightness, 'noise': _noise,
}
"""Cues by name: functions of images in [0, 1], shape ``(N, 3, H, W)``, their cues ``(N,)`` and C to marked images."""


class ShortcutStore(ImageStore):
    """The images of another store, marked with a cue when they are read.

    Parameters
    ----------
    inner
        The store of the images without cues.
    shortcut
        Name of the cue, one of :data:`CUES`.
    cues
        The class whose cue each image has, shape ``(N,)``, dtype int64.
    classes
        Number of classes, C.
    """

    def __init__(self, inner: ImageStore, shortcut: str, cues: Tensor, classes: int) -> None:
        self.inner, self.shortcut, self.cues, self.classes = inner, shortcut, cues, classes
        self.labels = inner.labels

    def read(self, indices: Tensor) -> Tensor:
        """Read the images at ``indices``; see :meth:`ImageStore.read`."""
        return self._marked(self.inner.read(indices), indices)

    def open(self, index: int) -> Image.Image:
        """Return what :meth:`read` gives as an image: cut from the original size, it could lose its cue."""
        return tv.to_pil_image(self.read(torch.tensor([index]))[0])

    def fit(self, image: Image.Image) -> Tensor:
        """Convert an image of :meth:`open`, which has the final size already."""
        return tv.pil_to_tensor(image)

    def to(self, device: torch.device | str) -> ShortcutStore:
        """Return the same marked images on a device; see :meth:`ImageStore.to`."""
        return ShortcutStore(self.inner.to(device), self.shortcut, self.cues.to(device), self.classes)

    def fingerprint(self) -> str:
        """Hash the images and the cue that each has; see :meth:`ImageStore.fingerprint`."""
        digest = hashlib.sha256(f'{self.inner.fingerprint()} {self.shortcut} {self.classes}'.encode())
        digest.update(self.cues.cpu().numpy().data)
        return digest.hexdigest()

    def class_digests(self, num_classes: int) -> list[str]:
        """Hash what identifies the images below the cues, which the settings tell; see the base class."""
        return self.inner.class_digests(num_classes)

    def files(self) -> tuple[Path, ...]:
        """Return the image files below the cues; see :meth:`ImageStore.files`."""
        return self.inner.files()

    def _marked(self, pixels: Tensor, indices: Tensor) -> Tensor:
        """Give images, bytes of shape ``(B, 3, H, W)``, their cues; the result has the same shape and dtype."""
        marked = CUES[self.shortcut](pixels.float() / 255, self.cues[indices], self.classes)
        return (marked * 255).clamp(0, 255).round().byte()


def with_shortcut(images: ImageSet, shortcut: str, strength: float) -> ImageSet:
    """Make a data set whose images carry a cue.

    All channels are normalised alike, by the mean and the deviation of all pixels of the first 2048 training images.
    With different numbers for each channel the mean over channels of a normalised image would show its hue.

    Parameters
    ----------
    images
        The data set without cues.
    shortcut
        Name of the cue, one of :data:`CUES`.
    strength
        Share of training images whose cue is that of their class, in [0, 1].

    Raises
    ------
    DataError
        If the cue is unknown, or ``strength`` is out of range.
    """
    if shortcut not in CUES:
        raise DataArgumentError('shortcut', shortcut, f"use {', '.join(CUES)}", reason='is unknown')
    if not 0 <= strength <= 1:
        raise DataArgumentError(
            'strength', strength, 'use 0.95 for a cue that seldom fails', reason='must be a share from 0 to 1'
        )
    classes = len(images.class_names)
    train = ShortcutStore(images.train, shortcut, _cues(images.train.labels, classes, 'train', strength), classes)
    # A strength of 1 / C makes all C cues equally likely, whatever the label: (1 - 1 / C) / (C - 1) = 1 / C.
    test = ShortcutStore(images.test, shortcut, _cues(images.test.labels, classes, 'test', 1 / classes), classes)
    pixels = train.read(torch.arange(min(_MEASURED, len(train)))).float() / 255
    mean, std = float(pixels.mean()), float(pixels.std())
    return replace(images, name=f'{images.name}-{shortcut}', mean=(mean,) * 3, std=(std,) * 3, train=train, test=test)


def _cues(labels: Tensor, classes: int, part: str, strength: float) -> Tensor:
    """Draw the cue of each image: its label with probability ``strength``, else any other class; shape ``(N,)``."""
    generator = derive_generator('shortcut', part)
    agrees = torch.rand(len(labels), generator=generator) < strength
    # A shift by 1 to C - 1 modulo C reaches every class but the own one with the same chance.
    others = torch.randint(1, classes, (len(labels),), generator=generator)
    return torch.where(agrees, labels.cpu(), (labels.cpu() + others) % classes)


def groups(images: ImageSet) -> Tensor | None:
    """Return the number in :data:`GROUPS` of each test image's group, shape ``(N_test,)``; None without a shortcut."""
    if not isinstance(images.test, ShortcutStore):
        return None
    return (images.test.cues != images.test.labels).long()
