"""How to train a found architecture from scratch: the numbers, and the papers' named sets of them.

Tables 33 to 36 of papers/wcnas, with what they leave open from the code of the methods::

    darts        CIFAR, table 33: DARTS, DARTS+, DARTS-, and the others without an entry      batch 96
    p_darts      CIFAR, table 34: P-DARTS                                                     batch 128
    pc_darts     CIFAR, table 34: PC-DARTS                                                    batch 128
    pr_darts     CIFAR, table 35: PR-DARTS                                                    batch 96
    adversarial  CIFAR, table 15: on images that PGD attacked, drop path 0.3                  batch 128
    imagenet     mobile setting, table 36: at most 600 million multiply-adds                  batch 1024
    stl10        table 17: the paper gives no numbers, so they are DARTS's for CIFAR          batch 96

Deviations. The published code of P-DARTS, PC-DARTS and PR-DARTS drops paths with chance 0.3, and P-DARTS decays weights
by 5e-4 on CIFAR-100; here the tables' 0.2 and 3e-4 hold. Table 36 names a cosine, the code that it follows decays
linearly, after a warm-up; that is done here, as is what that code does to images: random parts of them, resized to 224
pixels, with other colours, and for the test the centre of 256 pixels. Cutout on STL-10 is 32 pixels wide, as its
authors found best for images of 96. How the networks of table 15 were attacked in training is not said: 7 steps, as
Madry et al. did.

References
----------
papers/wcnas, tables 15, 17 and 33 to 36; Chen et al., "Progressive Differentiable Architecture Search", ICCV 2019 (its
``train_imagenet.py`` for the linear decay and the images); DeVries, Taylor, "Improved Regularization of Convolutional
Neural Networks with Cutout", 2017, section 4.4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from nni_wcnas.errors import InvalidArgument
from nni_wcnas.nearest_name import nearest_name
from nni_wcnas.retrain.optimizer import check_optimizer

__all__ = [
    'RECIPE_CHOICES', 'RECIPE_LIMITS', 'RETRAINING_RECIPES', 'NamedRecipe', 'RetrainingRecipe', 'make_recipe',
    'named_recipe',
]

_LAST = 5
"""Epochs at the end of the linear decay, in which the rate falls from that of the epoch before them towards 0."""
_MOBILE_MACS = 600_000_000
"""Multiply-adds of one image at most in the mobile setting of ImageNet."""


RECIPE_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {'decay': ('cosine', 'linear'), 'stem': ('cifar', 'imagenet'), 'precision': ('32-true', 'bf16-mixed')})
"""What each field of :class:`RetrainingRecipe` that is a name may be."""


RECIPE_LIMITS: Mapping[str, tuple[float, float]] = MappingProxyType({
    'epochs': (1, math.inf), 'seed': (0, math.inf),
    **dict.fromkeys(('drop_path', 'momentum', 'label_smoothing', 'ema_decay'), (0, 1)),
    **dict.fromkeys(('lr', 'min_lr', 'warmup', 'weight_decay', 'gradient_clip_val', 'auxiliary_weight',
                     'adversarial_steps', 'max_macs'), (0, math.inf)),
})
"""Each field of :class:`RetrainingRecipe` that has limits: its least value, and the number that it stays below."""


@dataclass(frozen=True)
class RetrainingRecipe:
    """How to train a network from scratch; the defaults are DARTS's for CIFAR-10 (papers/wcnas, table 33).

    Parameters
    ----------
    epochs
        Passes over the data.
    channels, cells
        As in :class:`nni_wcnas.network.cell_network.CellNetwork`.
    lr, min_lr
        Learning rate of the first epoch after the warm-up, and what its decay would reach after the last.
    decay
        ``'cosine'``, or ``'linear'`` (see :meth:`lr_at`).
    warmup
        Epochs at the start in which the rate rises linearly to ``lr``. The decay counts them too: its first epoch after
        them has the rate that it would have without a warm-up.
    optimizer
        ``'sgd'``, or one of timm's: see :mod:`nni_wcnas.retrain.optimizer`.
    momentum, weight_decay
        Momentum and weight decay of the optimiser; one that has no momentum is given none.
    gradient_clip_val
        Largest norm of the gradient; 0 for no limit.
    auxiliary_weight
        Weight of the auxiliary tower's loss; 0 for no tower.
    drop_path
        Chance of dropping a path that would be reached after the last epoch; it grows linearly from 0.
    label_smoothing
        Share of the target that is spread over all classes.
    ema_decay
        Decay of an exponential moving average of the weights, which is evaluated instead of them; 0 for none.
    adversarial_steps
        Steps of PGD on each training batch; 0 trains on the images as they are.
    stem
        Stem of the network; None for the one that the architecture was searched with.
    max_macs
        Multiply-adds that the network may take for one image; 0 for no limit.
    precision
        ``'32-true'``, or ``'bf16-mixed'``: autocast to bfloat16, with weights in float32.
    channels_last
        Whether weights and images are laid out channels last.
    compile
        Whether torch compiles the network.
    fast_cell
        Whether cells compute what their edges share once; only on a CPU in float32. Same numbers up to rounding.
    seed
        Seed of the initial weights, of drop path and of the starts of attacks.
    """

    epochs: int = 600
    channels: int = 36
    cells: int = 20
    lr: float = 0.025
    min_lr: float = 0.0
    decay: Literal['cosine', 'linear'] = 'cosine'
    warmup: int = 0
    optimizer: str = 'sgd'
    momentum: float = 0.9
    weight_decay: float = 3e-4
    gradient_clip_val: float = 5.0
    auxiliary_weight: float = 0.4
    drop_path: float = 0.2
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    adversarial_steps: int = 0
    stem: Literal['cifar', 'imagenet'] | None = None
    max_macs: int = 0
    precision: Literal['32-true', 'bf16-mixed'] = '32-true'
    channels_last: bool = False
    compile: bool = False
    fast_cell: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (least, below) in RECIPE_LIMITS.items():
            value = getattr(self, name)
            if not least <= value < below:  # False for NaN, too.
                limits = f'a finite number from {least} on' if below == math.inf else f'from {least} to below {below}'
                raise InvalidArgument(name, value, f'be {limits}')
        if self.min_lr > self.lr:
            raise InvalidArgument(
                'min_lr', self.min_lr, 'lower it', reason=f'is above lr ({self.lr}), so the rate would rise'
            )
        for name, known in RECIPE_CHOICES.items():
            if getattr(self, name) not in known and (name, getattr(self, name)) != ('stem', None):
                raise InvalidArgument(name, getattr(self, name), f'be one of {", ".join(map(repr, known))}')
        if self.decay == 'linear' and self.epochs <= _LAST:
            raise InvalidArgument('epochs', self.epochs, f'be more than the {_LAST} last ones of the linear decay')
        # Last, as it makes an optimiser from the numbers above.
        check_optimizer(self.optimizer, self.lr, self.momentum, self.weight_decay)

    def lr_at(self, epoch: int) -> float:
        """Return the learning rate of epoch e of E, counted from 0.

        The rate is ``min_lr + (lr - min_lr) s`` with a share s. For the cosine s is ``(1 + cos(pi e / E)) / 2``. For
        the linear decay it is ``(E - 5 - e) / (E - 5)``, and in the last 5 epochs ``(E - e) / (5 (E - 5))``. In a
        warm-up of w epochs the rate is ``lr (e + 1) / w`` instead.
        """
        if epoch < self.warmup:
            return self.lr * (epoch + 1) / self.warmup
        left = self.epochs - epoch
        if self.decay == 'cosine':
            share = (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        else:
            # The sixth epoch from the end has 1 / (E - 5), as has the fifth; from there on it falls in fifths of that.
            share = (left - _LAST if left > _LAST else left / _LAST) / (self.epochs - _LAST)
        return self.min_lr + (self.lr - self.min_lr) * share

    def drop_path_at(self, epoch: int) -> float:
        """Return the chance of dropping a path in an epoch, counted from 0: ``drop_path * epoch / epochs``."""
        return self.drop_path * epoch / self.epochs


@dataclass(frozen=True)
class NamedRecipe:
    """One of the papers' recipes: numbers of the training, and arguments of the data.

    Parameters
    ----------
    description
        What it is for, on one line.
    numbers
        The numbers that differ from :class:`RetrainingRecipe`'s defaults.
    data
        Arguments that the recipe gives the data set: ``ImageData(..., **data)``.
    """

    description: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


RETRAINING_RECIPES: Mapping[str, NamedRecipe] = MappingProxyType({
    # Cutout of 16 of 32 pixels. The tables of CIFAR differ from one another in the batch size alone.
    'darts': NamedRecipe('CIFAR, cells of DARTS, DARTS+ and DARTS- (table 33)', {}, {'batch_size': 96, 'cutout': 16}),
    'p_darts': NamedRecipe('CIFAR, cells of P-DARTS (table 34)', {}, {'batch_size': 128, 'cutout': 16}),
    'pc_darts': NamedRecipe('CIFAR, cells of PC-DARTS (table 34)', {}, {'batch_size': 128, 'cutout': 16}),
    'pr_darts': NamedRecipe('CIFAR, cells of PR-DARTS (table 35)', {}, {'batch_size': 96, 'cutout': 16}),
    # Batch size and drop path are those of the text beside table 15; 7 steps are Madry's, as the paper names none.
    'adversarial': NamedRecipe('CIFAR, on attacked images (table 15)', {'drop_path': 0.3, 'adversarial_steps': 7},
                               {'batch_size': 128, 'cutout': 16}),
    'imagenet': NamedRecipe(
        'ImageNet, mobile setting (table 36)',
        # Table 36, but for the linear decay and the warm-up, which are those of section D.2 and of P-DARTS's code.
        {'epochs': 250, 'channels': 48, 'cells': 14, 'lr': 0.5, 'decay': 'linear', 'warmup': 5, 'weight_decay': 3e-5,
         'drop_path': 0.0, 'label_smoothing': 0.1, 'stem': 'imagenet', 'max_macs': _MOBILE_MACS},
        # 0.875 = 224 / 256: the test sees the centre of an image of 256 pixels. The jitter is of brightness, contrast,
        # saturation and hue.
        {'batch_size': 1024, 'image_size': 224, 'crop': 'resized', 'crop_pct': 0.875,
         'color_jitter': (0.4, 0.4, 0.4, 0.2)}),
    'stl10': NamedRecipe('STL-10, transfer of a cell (table 17)', {}, {'batch_size': 96, 'cutout': 32}),
})
"""The papers' recipes by name, in the order of the papers' tables."""


def named_recipe(name: str) -> NamedRecipe:
    """Look up one of the papers' recipes by its name.

    Raises
    ------
    ValueError
        If the name is unknown; the nearest known one is named.

    Examples
    --------
    >>> named_recipe('pc_darts').data['batch_size']
    128
    """
    if name not in RETRAINING_RECIPES:
        nearest = nearest_name(name, RETRAINING_RECIPES)
        known = ', '.join(RETRAINING_RECIPES)
        raise ValueError(f'unknown recipe {name!r}: did you mean {nearest!r}? Known are {known}')
    return RETRAINING_RECIPES[name]


def make_recipe(name: str | None = None, **numbers: Any) -> RetrainingRecipe:
    """Return a recipe by its name, or DARTS's on CIFAR-10 without one, with some numbers in the place of its own.

    Raises
    ------
    ValueError
        If there is no recipe of that name, or a number is out of range.

    Examples
    --------
    >>> make_recipe('imagenet', epochs=90).lr
    0.5
    """
    return RetrainingRecipe(**{**(named_recipe(name).numbers if name is not None else {}), **numbers})
