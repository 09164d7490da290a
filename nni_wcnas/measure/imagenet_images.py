"""Prepare ImageNet's published variants for ``nni-wcnas evaluate``: ImageNet-C, -A, -R and -Sketch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from nni_wcnas.data import ImageData
from nni_wcnas.data.store import FileStore
from nni_wcnas.measure.corruption import ImageNetC, Variant, count_images, variant_measures, wordnet_ids

__all__ = ['VARIANT_STARTS', 'check_variants', 'imagenet_c', 'measure_variant']

VARIANT_STARTS = {f'imagenet_{letter}': tuple(f'{kind}_imagenet_{letter}' for kind in ('error', 'accuracy', 'examples'))
                  for letter in ('a', 'r', 'sketch')}
"""How the names of each variant's measures begin."""


def imagenet_c(folder: str, data: ImageData, limit: int | None) -> ImageNetC:
    """Open the published folders of ImageNet-C for a network that was trained on these data.

    Raises
    ------
    ValueError
        When a limit is given, as the published folders have a fixed number of images; when the data are not ImageNet's,
        or the folder is missing.
    """
    if limit is not None:
        raise ValueError(f'--corruption-limit {limit} does not limit published folders; leave it out')
    return ImageNetC(folder, wordnet_ids(data.class_names, data.name), image_size=data.image_size,
                     batch_size=data.batch_size, mean=data.mean, std=data.std)


def check_variants(folders: Mapping[Variant, str], data: ImageData) -> dict[Variant, dict[str, Any]]:
    """Check the folders of variants, and return what the measures of each depend on beside the network.

    Parameters
    ----------
    folders
        Folder of each variant, which holds one folder for each class.
    data
        The data that the network was trained on.

    Raises
    ------
    ValueError
        When the data are not ImageNet's, or a folder is not the variant's.
    """
    if not folders:
        return {}
    # Variants of one network are measured with the same resizing as its own test images, so it is part of what they
    # depend on.
    ids = wordnet_ids(data.class_names, data.name)
    return {variant: {'folder': str(Path(folder).resolve()), 'images': count_images(variant, folder, ids),
                      'resize': _shorter_side(data), 'image_size': data.image_size}
            for variant, folder in folders.items()}


def measure_variant(network: nn.Module, variant: Variant, folder: str, data: ImageData, *,
                    progress: bool) -> dict[str, float]:
    """Measure a network on a variant, shown as its own test images are."""
    return variant_measures(
        network, variant, folder, wordnet_ids(data.class_names, data.name), resize=_shorter_side(data),
        image_size=data.image_size, mean=data.mean, std=data.std, batch_size=data.batch_size, progress=progress,
    )


def _shorter_side(data: ImageData) -> int:
    """Return the length that the shorter side of a test image is resized to before its centre is cut out, pixels."""
    # Images in memory have their final size already.
    store = data.images.test
    return math.floor(data.image_size / store.crop_pct) if isinstance(store, FileStore) else data.image_size
