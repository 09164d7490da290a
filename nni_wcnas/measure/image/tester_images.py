"""Draw images from a tester of any kind, for those who watch a search.

A generator makes images of any class; a tester that changes real images is shown real ones of the classes wanted, and
keeps their labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nni_wcnas.contracts import Batch, GenerativeTester, Tester

__all__ = ['class_rows', 'sample']


def class_rows(tester: Tester, per_class: int, source: Batch | None) -> tuple[Tensor, Tensor]:
    """Make as many images of each class, in the order of the classes.

    Parameters
    ----------
    tester
        Makes the images. It draws from torch's global random state and is not changed.
    per_class
        How many images to make of each class; fewer where the source has fewer.
    source
        Clean real images with their labels, shape ``(M, 3, H, W)``; a generator needs none.

    Returns
    -------
    tuple of Tensor
        Images in [-1, 1] of shape ``(N, 3, H, W)`` and labels of shape ``(N,)``, on the tester's device.
    """
    if isinstance(tester, GenerativeTester) or source is None:
        # The drawn classes are replaced: each class, per_class times in a row, N = per_class * classes in all.
        noise = tester.noise(per_class * tester.num_classes)
        labels = torch.arange(tester.num_classes, device=noise.labels.device).repeat_interleave(per_class)
        return tester.generate(noise._replace(labels=labels)), labels
    # A class at a time: whatever a tester draws from real images of one class is of that class.
    rows = [_changed(tester, _part(source, members[:per_class])) for members in _by_class(source)]
    return torch.cat([images for images, _ in rows]), torch.cat([labels for _, labels in rows])


def sample(tester: Tester, count: int, source: Batch | None) -> tuple[Tensor, Tensor]:
    """Make ``count`` images of random classes or, with a tester that changes real images, one for each of the source.

    The other parameters and the result are those of :func:`class_rows`.
    """
    if isinstance(tester, GenerativeTester) or source is None:
        noise = tester.noise(count)
        return tester.generate(noise), noise.labels
    return _changed(tester, source)


def _changed(tester: Tester, source: Batch) -> tuple[Tensor, Tensor]:
    """Let the tester change real images; return one image, and its label, for each."""
    # Such a tester learns its B, so the first of its hyper-parameters tells its device and precision.
    noise = tester.noise(len(source.labels), _placed(source, next(iter(tester.hyperparameters().values()))))
    return tester.generate(noise), noise.labels


def _by_class(source: Batch) -> list[Tensor]:
    """Return the positions of the examples of each class that the source has, in the order of the classes."""
    return [(source.labels == label).nonzero().flatten() for label in source.labels.unique()]


def _part(source: Batch, positions: Tensor) -> Batch:
    """Return the examples of a batch at some positions, as a batch."""
    images, labels, indices, clean = source
    return Batch(
        images[positions],
        labels[positions],
        None if indices is None else indices[positions],
        None if clean is None else clean[positions],
    )


def _placed(source: Batch, like: Tensor) -> Batch:
    """Move a batch to the device of ``like``, and its images to the precision of ``like``."""
    images, labels, indices, clean = source
    return Batch(
        images.to(like),
        labels.to(like.device),
        None if indices is None else indices.to(like.device),
        None if clean is None else clean.to(like),
    )
