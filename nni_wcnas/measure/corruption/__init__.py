"""Common corruptions of images, natural variants of ImageNet, and how a network fares under them."""

from .cifar_c import CifarC
from .class_folder import wordnet_ids
from .corrupted_images import CorruptedImages, CorruptedTestSet
from .errors import CorruptionErrors, corruption_errors
from .image import corrupt
from .imagenet_c import ImageNetC
from .imagenet_variant import Variant, count_images, variant_measures, variant_name
from .means import (
    ALEXNET_CLEAN_ERROR,
    ALEXNET_ERRORS,
    mean_corruption_error,
    mean_error,
    relative_mean_corruption_error,
)
from .severity import BENCHMARK, FAMILIES, NAMES, SEVERITIES, VALIDATION, Scale, settings

__all__ = [
    'ALEXNET_CLEAN_ERROR',
    'ALEXNET_ERRORS',
    'BENCHMARK',
    'FAMILIES',
    'NAMES',
    'SEVERITIES',
    'VALIDATION',
    'CifarC',
    'CorruptedImages',
    'CorruptedTestSet',
    'CorruptionErrors',
    'ImageNetC',
    'Scale',
    'Variant',
    'corrupt',
    'corruption_errors',
    'count_images',
    'mean_corruption_error',
    'mean_error',
    'relative_mean_corruption_error',
    'settings',
    'variant_measures',
    'variant_name',
    'wordnet_ids',
]
