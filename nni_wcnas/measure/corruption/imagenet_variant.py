"""Measure on ImageNet-A (natural images that a ResNet-50 gets wrong), ImageNet-R (renditions) and ImageNet-Sketch.

A and R have 200 of ImageNet's classes each. By their convention a network chooses among these alone: the largest of
the 200 logits counts. Sketch has all 1000 classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import nn
from tqdm import tqdm

from nni_wcnas.measure.corruption.class_folder import MEAN, STD, ClassFolder, list_classes
from nni_wcnas.measure.predictions import predicting

__all__ = ['Variant', 'count_images', 'variant_measures', 'variant_name']

Variant = Literal['imagenet_a', 'imagenet_r', 'imagenet_sketch']

# Number of classes of each variant; a folder with another number is refused.
_CLASSES = {'imagenet_a': 200, 'imagenet_r': 200, 'imagenet_sketch': 1000}


def variant_name(variant: Variant) -> str:
    """Return the name of a variant as papers write it.

    Examples
    --------
    >>> variant_name('imagenet_sketch')
    'ImageNet-Sketch'
    """
    return f'ImageNet-{variant.removeprefix("imagenet_").title()}'


def variant_measures(network: nn.Module, variant: Variant, folder: str | Path, wordnet_ids: Sequence[str], *,
                     resize: int = 256, image_size: int = 224, mean: tuple[float, float, float] = MEAN,
                     std: tuple[float, float, float] = STD, batch_size: int = 100,
                     progress: bool = False) -> dict[str, float]:
    """Measure a network that was trained on ImageNet, in evaluation mode; it stays as it was.

    Parameters
    ----------
    network
        Maps normalised images to logits of all classes.
    variant
        ``'imagenet_a'``, ``'imagenet_r'`` or ``'imagenet_sketch'``.
    folder
        The folder of the images, ``folder/<WordNet id>/*.jpg``.
    wordnet_ids
        All 1000 ids of ImageNet, as :func:`wordnet_ids` returns them.
    resize, image_size
        The shorter side of an image becomes ``resize`` pixels, of which the centre ``image_size`` is shown.
    mean, std
        Mean and standard deviation of each channel that the network was trained with, pixels in [0, 1].
    batch_size
        How many images a batch has.
    progress
        Whether to show a progress bar.

    Returns
    -------
    dict
        ``accuracy_<variant>`` and ``error_<variant>``, which are shares, and ``examples_<variant>``, a count.

    Raises
    ------
    ValueError
        If there is no such variant, a folder is missing, misnamed or empty, or the network has other classes.

    References
    ----------
    Hendrycks et al., Natural Adversarial Examples, CVPR 2021; Hendrycks et al., The Many Faces of Robustness, ICCV
    2021; Wang et al., Learning Robust Global Representations by Penalizing Local Predictive Power, NeurIPS 2019.
    """
    found = _classes(variant, folder, wordnet_ids)
    images = ClassFolder(Path(folder), found, resize=resize, image_size=image_size, mean=mean, std=std)
    classes = torch.tensor(list(found.values()))
    right = []
    bar = tqdm(total=len(images), desc=variant, unit='image', disable=not progress)
    with predicting(network) as predict, bar:
        for batch, labels in images.batches(batch_size):
            logits = predict(batch)
            if logits.shape[1] != len(wordnet_ids):
                raise ValueError(
                    f'The network has {logits.shape[1]} classes, but ImageNet {len(wordnet_ids)}; give one that was '
                    'trained on ImageNet.'
                )
            # logits (B, 1000) -> (B, K), K the variant's classes. The argmax is a place among these, and `classes`,
            # (K,), turns it back into a class of ImageNet.
            right.append(classes[logits[:, classes].argmax(dim=1)] == labels)
            bar.update(len(labels))
    accuracy = torch.cat(right).double().mean().item()
    return {f'accuracy_{variant}': accuracy, f'error_{variant}': 1 - accuracy,
            f'examples_{variant}': float(len(images))}


def count_images(variant: Variant, folder: str | Path, wordnet_ids: Sequence[str]) -> int:
    """Check the class folders of a variant, and count their images.

    Parameters
    ----------
    variant, folder, wordnet_ids
        As for :func:`variant_measures`.

    Raises
    ------
    ValueError
        If there is no such variant, or a folder is missing, misnamed or empty.
    """
    # Nothing is decoded here, so sizes and normalisation do not matter.
    return len(ClassFolder(Path(folder), _classes(variant, folder, wordnet_ids), resize=1, image_size=1, mean=MEAN,
                           std=STD))


def _classes(variant: Variant, folder: str | Path, wordnet_ids: Sequence[str]) -> dict[str, int]:
    """List the class of each folder of a variant, and check that they are as many as it has."""
    if variant not in get_args(Variant):
        raise ValueError(f'There is no variant {variant!r}; use one of {", ".join(get_args(Variant))}.')
    return list_classes(Path(folder), wordnet_ids, _CLASSES[variant])
