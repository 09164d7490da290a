"""Measure the errors of a network under each corruption at each severity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from tqdm import tqdm

from nni_wcnas.measure.corruption.corrupted_images import CorruptedImages
from nni_wcnas.measure.corruption.severity import BENCHMARK, SEVERITIES, Scale, check_scale
from nni_wcnas.measure.predictions import predicting

__all__ = ['CorruptionErrors', 'corruption_errors']


class CorruptionErrors(dict[str, dict[int, float]]):
    """Errors by corruption and severity, with the scale that they were measured at.

    The scale travels with the errors because each kind of mean is defined for one scale only.

    Parameters
    ----------
    errors
        Share of wrong predictions, in [0, 1], by name of the corruption, then by severity.
    scale
        Which table of severities the images were made with, ``'cifar'`` or ``'imagenet'``.

    Raises
    ------
    ValueError
        If there is no such scale.
    """

    def __init__(self, errors: Mapping[str, dict[int, float]], *, scale: Scale) -> None:
        check_scale(scale)
        super().__init__(errors)
        self.scale = scale


def corruption_errors(network: nn.Module, images: CorruptedImages, *, names: Sequence[str] = BENCHMARK,
                      severities: Sequence[int] = SEVERITIES, progress: bool = False) -> CorruptionErrors:
    """Measure a network under corruptions, in evaluation mode; it stays as it was.

    Parameters
    ----------
    network
        Maps normalised images to logits.
    images
        A :class:`CorruptedTestSet`, :class:`CifarC` or :class:`ImageNetC`.
    names
        The corruptions to measure: :data:`BENCHMARK` or :data:`NAMES` or some of them.
    severities
        The severities to measure, each from 1 to 5.
    progress
        Whether to show a progress bar.

    Returns
    -------
    CorruptionErrors
        Share of wrong predictions by corruption and severity.

    Raises
    ------
    ValueError
        If there is no such corruption or severity, or a file of it is missing or not as published; or if the network
        has other classes than the images.
    """
    if not names or not severities:
        raise ValueError(f'names={names!r} and severities={severities!r} must not be empty; leave them out for all.')
    # Before the first pass: a file that is missing at the end would waste hours.
    images.check(names, severities)
    errors: dict[str, dict[int, float]] = {}
    total = len(images) * len(names) * len(severities)
    bar = tqdm(total=total, desc='corruptions', unit='image', disable=not progress)
    with predicting(network) as predict, bar:
        for name in names:
            errors[name] = {}
            for severity in severities:
                wrong = []
                for batch, labels in images.batches(name, severity):
                    logits = predict(batch)
                    # Checked on the first logits, not on the module: any network that maps images to logits may be
                    # given.
                    if logits.shape[1] != images.num_classes:
                        raise ValueError(
                            f'The network has {logits.shape[1]} classes, but the images {images.num_classes}; give a '
                            'network that was trained on these classes.'
                        )
                    # (B,) on the CPU: predict() brings the logits to where the labels are.
                    wrong.append(logits.argmax(dim=1) != labels)
                    bar.update(len(labels))
                errors[name][severity] = torch.cat(wrong).double().mean().item()
    return CorruptionErrors(errors, scale=images.scale)
