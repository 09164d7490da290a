"""The options that all data sets share, and what of them is impossible."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

import torch

from .error import DataArgumentError, DataError
from .training_transform import is_image_by_image

__all__ = ['DataOptions', 'refuse_impossible', 'refuse_sharing']


class DataOptions(TypedDict, total=False):
    """The keyword arguments of :class:`ImageData` that all data sets share."""

    batch_size: int
    """Examples in a batch, at least 2. A last batch of one example joins the one before it."""
    limit: int | None
    """How many training examples to use: the first of each class in each half; None uses all."""
    split: float
    """Share of the training set that trains the weights, in (0, 1): the first part of the unshuffled set."""
    seed: int
    """Part of the name of every random stream: order of the batches, crops, flips, cutout and colours."""
    cutout: int
    """Side of the square set to 0 in normalised training images, pixels; 0 for none."""
    augment: bool
    """Whether training images are randomly cropped and, where a mirrored image keeps its class, flipped. Cutout,
    ``color_jitter`` and ``auto_augment`` are separate."""
    crop: Literal['padded', 'resized']
    """How training images are cropped. ``'padded'``: they are shifted by up to an eighth of the side, over black.
    ``'resized'``: a random part of the image at its own size, of 0.08 to 1 of its area and a ratio of 3:4 to 4:3,
    is resized, as for ImageNet."""
    color_jitter: float | tuple[float, ...]
    """How far brightness, contrast and saturation of training images change, as in timm: one number for all, three
    numbers, or four with that of the hue; 0 for none."""
    auto_augment: str | None
    """Policy that changes training images after crop and flip, by timm's name, e.g. ``'rand-m9-mstd0.5'``; None for
    none."""
    num_workers: int
    """Processes that prepare batches; the batches do not depend on it."""
    device: str | None
    """Device that the batches are made on: the images are copied there once, and augmented there. It is for data sets
    that are held in memory; ``'cuda'`` spares a search on a GPU all waiting for data. None is the CPU here;
    ``nni-wcnas`` takes the search's device where it can."""
    shortcut: str | None
    """Cue that gives away the labels of training images but not those of test images: ``'colour'``, ``'dot'``,
    ``'brightness'`` or ``'noise'``, see :mod:`nni_wcnas.data.shortcut`; None for images as they are."""
    strength: float | None
    """Share of training images whose cue is that of their class, in [0, 1]; None is 0.95."""


def refuse_impossible(*, batch_size: int, num_workers: int, device: str | None, **named: Any) -> None:
    """Refuse options that contradict each other or are out of range.

    Parameters
    ----------
    batch_size, num_workers, device
        As :class:`nni_wcnas.data.ImageData` takes them.
    **named
        Its ``crop``, ``color_jitter`` and ``auto_augment``.

    Raises
    ------
    DataError
        With what to change.
    """
    if batch_size < 2:
        raise DataArgumentError(
            'batch_size', batch_size, 'use at least 2', reason='is too small for batch normalisation'
        )
    if num_workers < 0:
        raise DataArgumentError(
            'num_workers', num_workers, 'use 0 to load in this process', reason='must not be negative'
        )
    if num_workers and device not in (None, 'cpu'):
        raise DataArgumentError(
            'num_workers', num_workers, 'give one of the two', reason=f'prepare batches on the CPU, not on {device}'
        )
    # torchvision and timm do these one image after the other, on the CPU.
    if is_image_by_image(named) and device not in (None, 'cpu'):
        raise DataError(
            "crop='resized', color_jitter and auto_augment change images on the CPU, not on "
            f'{device}; leave device or them out.'
        )


def refuse_sharing(batch_size: int, device: torch.device, devices: int) -> None:
    """Refuse to share batches out over several devices where that cannot be done.

    Parameters
    ----------
    batch_size
        Examples in the smallest batch. The rest of an epoch is a batch of its own only if it has two examples for each
        device, so it is the full size, or a half that is smaller than it.
    device
        Where the batches are made.
    devices
        How many devices there are.

    Raises
    ------
    DataError
        If a device could be left fewer than two examples of a batch, or the batches are made on one GPU.
    """
    if batch_size < 2 * devices:
        raise DataError(
            f'A batch of {batch_size} examples is too small for batch normalisation on {devices} devices; use at '
            f'least {2 * devices}, or fewer devices.'
        )
    if device.type != 'cpu':
        raise DataError(
            f'Batches made on {device} cannot be shared out over {devices} devices; leave device out.'
        )
