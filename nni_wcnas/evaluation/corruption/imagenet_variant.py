"""ImageNet-A (natural images that a ResNet-50 gets wrong), ImageNet-R (renditions) and ImageNet-Sketch.

A and R have 200 of ImageNet's classes each. By their convention a network chooses among these alone: the largest of
their 200 logits counts. Sketch has all 1000.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import nn
from tqdm import tqdm

from nni_wcnas.evaluation.corruption.class_folder import MEAN, STD, ClassFolder, list_classes
from nni_wcnas.evaluation.predictions import predicting

__all__ = ['Variant', 'variant_measures']

Variant = Literal['imagenet_a', 'imagenet_r', 'imagenet_sketch']

_CLASSES = {'imagenet_a': 200, 'imagenet_r': 200, 'imagenet_sketch': 1000}


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
        ``folder/<WordNet id>/*.jpg``.
    wordnet_ids
        All of ImageNet's, as of :func:`read_wordnet_ids`.
    resize, image_size
        The shorter side becomes ``resize`` pixels, of which the centre ``image_size`` is shown.
    mean, std
        What the network was trained with: of each channel, pixels in [0, 1].
    batch_size
        Images at once.
    progress
        Whether to show a bar.

    Returns
    -------
    dict
        ``<variant>_accuracy``, ``<variant>_error`` and ``<variant>_examples``.

    Raises
    ------
    ValueError
        If there is no such variant, a folder is missing, misnamed or empty, or the network has other classes.

    References
    ----------
    Hendrycks et al., Natural Adversarial Examples, CVPR 2021; Hendrycks et al., The Many Faces of Robustness, ICCV
    2021; Wang et al., Learning Robust Global Representations by Penalizing Local Predictive Power, NeurIPS 2019.
    """
    if variant not in get_args(Variant):
        raise ValueError(f'There is no variant {variant!r}; use one of {", ".join(get_args(Variant))}.')
    found = list_classes(Path(folder), wordnet_ids, _CLASSES[variant])
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
            right.append(classes[logits[:, classes].argmax(dim=1)] == labels)
            bar.update(len(labels))
    accuracy = torch.cat(right).double().mean().item()
    return {f'{variant}_accuracy': accuracy, f'{variant}_error': 1 - accuracy,
            f'{variant}_examples': float(len(images))}
