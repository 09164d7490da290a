"""Data sets for a search: sample indices, clean copies, halves as the papers cut them, and how hard each example is."""

from .archive import CIFAR10, CIFAR100, STL10, SVHN, FashionMNIST
from .augmentation import Augmentation
from .difficulty import DifficultyScores, hardest, load_difficulty
from .digits import Digits
from .error import DataError
from .image_data import ImageData
from .image_folder import ImageFolder
from .reference import Reference, reference_models
from .seeding import derive_seed
from .store import FileStore, ImageSet, ImageStore, TensorStore

__all__ = [
    'CIFAR10',
    'CIFAR100',
    'STL10',
    'SVHN',
    'Augmentation',
    'DataError',
    'DifficultyScores',
    'Digits',
    'FashionMNIST',
    'FileStore',
    'ImageData',
    'ImageFolder',
    'ImageSet',
    'ImageStore',
    'Reference',
    'TensorStore',
    'derive_seed',
    'hardest',
    'load_difficulty',
    'reference_models',
]
