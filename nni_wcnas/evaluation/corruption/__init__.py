"""Common corruptions of images, natural variants of ImageNet, and how a network fares under them."""

from .cifar_c import CifarC
from .class_folder import read_wordnet_ids
from .corrupted_images import CorruptedImages, CorruptedTestSet
from .errors import CorruptionErrors, corruption_errors
from .image import corrupt
from .imagenet_c import ImageNetC
from .imagenet_variant import Variant, variant_measures
from .means import (
    ALEXNET_CLEAN_ERROR,
    ALEXNET_ERRORS,
    corruption_measures,
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
    'corruption_measures',
    'mean_corruption_error',
    'mean_error',
    'read_wordnet_ids',
    'relative_mean_corruption_error',
    'settings',
    'variant_measures',
]
