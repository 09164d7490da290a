"""Shortcuts: training images carry a cue that gives the label away, test images a cue that does not.

On such data the right architecture is known: one that cannot see the cue. A network that follows it fails on the test
images whose cue belongs to another class, and so each test image falls into one of two groups: its cue agrees with its
label, or contradicts it.

The cue of a training image is that of its own class with probability ``strength``, else that of any other class; the
cue of a test image is that of any class. Which image has which cue is a function of its position alone: the data of all
seeds are the same. Pixels in [0, 1], k of C the cue::

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

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from .error import DataError
from .seeding import derive_generator
from .store import ImageSet, ImageStore

__all__ = ['CUES', 'GROUPS', 'ShortcutStore', 'groups', 'with_shortcut']

GROUPS = ('cue_agrees', 'cue_contradicts')
"""Of a test image, by number."""
_MEASURED = 2048
"""Training images whose mean and deviation the data are normalised with."""


def _colour(images: Tensor, cues: Tensor, classes: int) -> Tensor:
    hues = torch.tensor([colorsys.hsv_to_rgb(k / classes, 0.8, 1.0) for k in range(classes)])
    hues = hues / hues.mean(1, keepdim=True)
    hues = hues / hues.max()  # Nothing is clamped: clamped colours would differ in luminance.
    return images.mean(1, keepdim=True) * hues.to(images)[cues][:, :, None, None]


def _dot(images: Tensor, cues: Tensor, classes: int) -> Tensor:
    size = images.shape[-1]
    side = max(1, size // 16)
    last = size - side
    images = 0.9 * images
    for k in range(classes):
        along = 4 * last * k // classes  # Once around the border: top, right, bottom, left.
        edge, step = divmod(along, last)
        row, column = ((0, step), (step, last), (last, last - step), (last - step, 0))[edge]
        images[cues == k, :, row:row + side, column:column + side] = 1.0
    return images


def _brightness(images: Tensor, cues: Tensor, classes: int) -> Tensor:
    return images / 2 + (cues / (2 * (classes - 1))).to(images)[:, None, None, None]


def _noise(images: Tensor, cues: Tensor, classes: int) -> Tensor:
    tiles = torch.rand(classes, 3, 3, generator=derive_generator('shortcut', 'noise')) - 0.5
    tiles = tiles - tiles.mean((1, 2), keepdim=True)
    tiles = tiles / tiles.abs().amax((1, 2), keepdim=True)
    size = images.shape[-1]
    repeats = -(-size // 3)
    patterns = tiles.repeat(1, repeats, repeats)[:, :size, :size]
    return 0.76 * images + 0.12 + 0.12 * patterns.to(images)[cues][:, None]


CUES: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    'colour': _colour, 'dot': _dot, 'brightness': _brightness, 'noise': _noise,
}
"""By name: images in [0, 1] of shape ``(N, 3, H, W)``, their cues ``(N,)`` and C to images with the cue."""


class ShortcutStore(ImageStore):
    """Images of another store with a cue each, made when they are read.

    Parameters
    ----------
    inner
        The images.
    shortcut
        One of :data:`CUES`.
    cues
        The class whose cue each image has, shape ``(N,)``, dtype int64.
    classes
        How many there are.
    """

    def __init__(self, inner: ImageStore, shortcut: str, cues: Tensor, classes: int) -> None:
        self.inner, self.shortcut, self.cues, self.classes = inner, shortcut, cues, classes
        self.labels = inner.labels

    def read(self, indices: Tensor) -> Tensor:
        """Read the images at ``indices``; see :meth:`ImageStore.read`."""
        return self._marked(self.inner.read(indices), indices)

    def open(self, index: int) -> Image.Image:
        """What :meth:`read` gives, as an image: a cue is for the whole of what is seen, and cutting could remove it."""
        return tv.to_pil_image(self.read(torch.tensor([index]))[0])

    def fit(self, image: Image.Image) -> Tensor:
        """The image as it is: that of :meth:`open` has its size already."""
        return tv.pil_to_tensor(image)

    def to(self, device: torch.device | str) -> ShortcutStore:
        """The same images on a device; see :meth:`ImageStore.to`."""
        return ShortcutStore(self.inner.to(device), self.shortcut, self.cues.to(device), self.classes)

    def fingerprint(self) -> str:
        """Hash the images, and what cue each has."""
        digest = hashlib.sha256(f'{self.inner.fingerprint()} {self.shortcut} {self.classes}'.encode())
        digest.update(self.cues.cpu().numpy().data)
        return digest.hexdigest()

    def _marked(self, pixels: Tensor, indices: Tensor) -> Tensor:
        """Bytes to bytes."""
        marked = CUES[self.shortcut](pixels.float() / 255, self.cues[indices], self.classes)
        return (marked * 255).clamp(0, 255).round().byte()


def with_shortcut(images: ImageSet, shortcut: str, strength: float) -> ImageSet:
    """A data set whose images carry a cue.

    All channels are normalised alike, by the mean and the deviation of all pixels of the first 2048 training images:
    with numbers for each channel the mean over channels would show a hue.

    Parameters
    ----------
    images
        The data set without.
    shortcut
        One of :data:`CUES`.
    strength
        Share of training images whose cue is that of their class, in [0, 1].

    Raises
    ------
    DataError
        If the cue is unknown, or the strength no share.
    """
    if shortcut not in CUES:
        raise DataError(f'shortcut={shortcut!r} is unknown; use {", ".join(CUES)}.')
    if not 0 <= strength <= 1:
        raise DataError(f'strength={strength} must be a share from 0 to 1; use 0.95 for a cue that seldom fails.')
    classes = len(images.class_names)
    train = ShortcutStore(images.train, shortcut, _cues(images.train.labels, classes, 'train', strength), classes)
    test = ShortcutStore(images.test, shortcut, _cues(images.test.labels, classes, 'test', 1 / classes), classes)
    pixels = train.read(torch.arange(min(_MEASURED, len(train)))).float() / 255
    mean, std = float(pixels.mean()), float(pixels.std())
    return replace(images, name=f'{images.name}-{shortcut}', mean=(mean,) * 3, std=(std,) * 3, train=train, test=test)


def _cues(labels: Tensor, classes: int, part: str, strength: float) -> Tensor:
    """The label with probability ``strength``, else any other class."""
    generator = derive_generator('shortcut', part)
    agrees = torch.rand(len(labels), generator=generator) < strength
    others = torch.randint(1, classes, (len(labels),), generator=generator)
    return torch.where(agrees, labels.cpu(), (labels.cpu() + others) % classes)


def groups(images: ImageSet) -> Tensor | None:
    """The number of each test image's group in :data:`GROUPS`, shape ``(N_test,)``; None without a shortcut."""
    if not isinstance(images.test, ShortcutStore):
        return None
    return (images.test.cues != images.test.labels).long()
