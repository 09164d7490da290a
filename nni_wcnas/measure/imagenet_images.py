"""What ``nni-wcnas evaluate`` reads of ImageNet's published variants: ImageNet-C, -A, -R and -Sketch."""

from __future__ import annotations

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
"""How the names of a variant's measures begin."""


def imagenet_c(folder: str, data: ImageData, limit: int | None) -> ImageNetC:
    """The published folders, for a network that was trained on ImageNet.

    Raises
    ------
    ValueError
        When a number of images is given, of which they have their own.
    ValueError
        When the data are not ImageNet's, or the folder is missing.
    """
    if limit is not None:
        raise ValueError(f'--corruption-limit {limit} does not limit published folders; leave it out')
    return ImageNetC(folder, wordnet_ids(data.class_names, data.name), image_size=data.image_size,
                     batch_size=data.batch_size, mean=data.mean, std=data.std)


def check_variants(folders: Mapping[Variant, str], data: ImageData) -> dict[Variant, dict[str, Any]]:
    """What the measures of each variant depend on beside the network.

    Parameters
    ----------
    folders
        One a variant, which holds a folder a class.
    data
        That the network was trained on.

    Raises
    ------
    ValueError
        When the data are not ImageNet's, or a folder is not the variant's.
    """
    if not folders:
        return {}
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
    """What the shorter side of a test image becomes before its centre is cut out, pixels."""
    store = data.images.test
    return round(data.image_size / store.crop_pct) if isinstance(store, FileStore) else data.image_size
