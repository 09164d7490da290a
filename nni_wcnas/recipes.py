"""The papers' numbers for each preset and data set: what a search is told besides its members.

A preset takes from here what belongs to ``Search``; the rest belongs to the evaluator, the tester, the data and the
space, and ``nni-wcnas`` fills it in where the settings file has none. Tables are those of papers/wcnas, appendix E.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

__all__ = ['ADJUSTMENTS', 'RECIPES', 'Recipe', 'recipe']


@dataclass(frozen=True)
class Recipe:
    """Numbers of one search; the defaults are table 25, which are DARTS's own.

    In every table the generator G and the auxiliary model V have the rates, momentum and weight decay of the weights W.
    V has them here too (``evaluator``), G where it is as wide as its authors' (``generator``): ``nni-wcnas`` leaves
    smaller generators, which diverge at them, the lower rates that they have by default. B has the tables' rate and no
    weight decay (see :func:`nni_wcnas.presets.wcnas`).
    """

    epochs: int = 50
    """Epochs of the first stage; of each stage, where all are as long."""
    warmup: int = 0
    """Epochs at the start of a stage that leave the architecture alone."""
    batch_size: int = 64
    lr: float = 0.025
    min_lr: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    gradient_clip_val: float = 5.0
    arc_learning_rate: float = 3e-4
    arc_gradient_clip_val: float | None = None
    hyperparameter_lr: float = 3e-4
    """Learning rate of Adam on B."""
    adversary_gradient_clip_val: float | None = None
    """Largest norm of the gradient of G, and of that of V; None does not clip."""
    width: int = 16
    num_cells: int = 8
    trade_off: float = 1.0
    """Lambda of ``WorstCase``: how much generated images must stay meaningful."""
    auxiliary: str | None = None
    """Name of the auxiliary model; None leaves it to the tester."""
    dataset: str = 'other'
    """Name of the data set that these numbers are for."""

    @property
    def is_for_all_data(self) -> bool:
        """Whether the numbers that a ``Search`` is told are table 25's, which also serve data without numbers of their
        own."""
        names = ('arc_learning_rate', 'arc_gradient_clip_val', 'gradient_clip_val', 'hyperparameter_lr', 'trade_off')
        return all(getattr(self, name) == getattr(_DARTS, name) for name in names)

    @property
    def evaluator(self) -> dict[str, Any]:
        """Arguments of ``SearchEvaluator``: W's numbers and, as ``auxiliary``, V's."""
        names = ('lr', 'min_lr', 'momentum', 'weight_decay')
        # Left out and not None, so that the tester's kind decides which auxiliary model is built.
        name = {} if self.auxiliary is None else {'name': self.auxiliary}
        # The tables have one row for W, G and V: learning rate, momentum and weight decay are the same.
        numbers = {
            'lr': self.lr,
            'min_lr': self.min_lr,
            'momentum': self.momentum,
            'weight_decay': self.weight_decay,
            'gradient_clip_val': self.adversary_gradient_clip_val,
        }
        return {
            'max_epochs': self.epochs,
            **{name: getattr(self, name) for name in names},
            'auxiliary': {**name, **numbers},
        }

    @property
    def generator(self) -> dict[str, Any]:
        """Arguments of a GAN of its authors' width: ``FQGAN(10, width=256, **recipe('darts').generator)``."""
        return {
            'generator_lr': self.lr,
            'min_lr': self.min_lr,
            'generator_momentum': self.momentum,
            'generator_weight_decay': self.weight_decay,
            'generator_gradient_clip_val': self.adversary_gradient_clip_val,
        }

    def warmup_of(self, epochs: int) -> int:
        """Return the warm-up of a longer or shorter stage: the same share of it, rounded down."""
        return self.warmup * epochs // self.epochs


_DARTS = Recipe()
# Tables 27 and 28; 5 cells are those of the first of three stages, to which the tables add 6 and 12.
_P_DARTS = Recipe(
    epochs=25,
    warmup=10,
    batch_size=96,
    min_lr=0.0,
    arc_learning_rate=6e-4,
    arc_gradient_clip_val=5.0,
    adversary_gradient_clip_val=5.0,
    num_cells=5,
)
# Tables 29 and 30.
_PC_DARTS = Recipe(warmup=15, batch_size=256, lr=0.1, min_lr=0.0, arc_learning_rate=6e-4)
# Chen et al., ICLR 2021, section 3.3: searched at the size of evaluation. It has no table in papers/wcnas.
_DRNAS = Recipe(
    epochs=25,
    warmup=10,
    lr=0.1,
    min_lr=0.0,
    arc_learning_rate=6e-4,
    width=36,
    num_cells=20,
)
# What ImageNet changes, table 31; A's clip of 5 is PC-DARTS's own code's.
_LARGE = {
    'lr': 0.5,
    'arc_learning_rate': 6e-3,
    'arc_gradient_clip_val': 5.0,
    'hyperparameter_lr': 6e-3,
    'adversary_gradient_clip_val': 5.0,
}


def _other(base: Recipe) -> Recipe:
    """Return DARTS's numbers for data without a table, in the stages and the supernet of a base."""
    # Stages and shape belong to the method; rates and batch size to the data.
    kept = ('epochs', 'warmup', 'width', 'num_cells')
    return replace(_DARTS, **{name: getattr(base, name) for name in kept})


RECIPES: dict[str, dict[str, Recipe]] = {
    **{
        name: {'cifar10': _DARTS, 'cifar100': _DARTS, 'other': _other(_DARTS)}
        for name in (
            'darts', 'darts_2nd', 'darts_plus', 'darts_minus', 'sdarts_rs', 'sdarts_adv', 'darts_pt', 'r_darts',
            'drnas', 'gdas', 'pr_darts',
        )
    },
    'p_darts': {
        'cifar10': replace(_P_DARTS, trade_off=0.5),
        'cifar100': _P_DARTS,
        'other': _other(_P_DARTS),
    },
    'pc_darts': {
        'cifar10': replace(_PC_DARTS, trade_off=3.0),
        'cifar100': replace(_PC_DARTS, trade_off=0.1),
        'imagenet': replace(_PC_DARTS, warmup=35, batch_size=768, **_LARGE),  # type: ignore[arg-type]
        'other': _other(_PC_DARTS),
    },
    'drnas_progressive': {
        'cifar10': _DRNAS,
        'cifar100': _DRNAS,
        'imagenet': replace(_DRNAS, batch_size=512, width=48, num_cells=14, **_LARGE),  # type: ignore[arg-type]
        'other': _other(_DRNAS),
    },
}
"""The numbers by preset and data set.

Their sources are table 25 (DARTS and what is built on it), 26 (DARTS-), 27 and 28 (P-DARTS), 29 to 31 (PC-DARTS) and 32
(PR-DARTS); DrNAS's are its paper's, with B, G and V as in those of PC-DARTS. ``'other'`` stands for data that the
papers have no numbers for: table 25's, in the base's own stages and supernet.
"""


ADJUSTMENTS: dict[str, Callable[[Recipe], Recipe]] = {
    # CR has half of the epochs, and of the warm-up with them; NCR a ResNet-18 in the place of the tied model.
    'cr': lambda base: replace(base, epochs=base.epochs // 2, warmup=base.warmup_of(base.epochs // 2)),
    'ncr': lambda base: replace(base, auxiliary='resnet18'),
}
"""Changes that a preset on a base makes to the base's numbers: papers/wcnas, section 3.3 and table 9."""


def recipe(preset: str, dataset: str = 'cifar10', base: str | None = None) -> Recipe:
    """Return the numbers of a preset on a data set; those of ``wcnas`` are its base's.

    ``'cr'`` and ``'ncr'`` change those of their ``base``, by default ``'darts'``.

    Parameters
    ----------
    preset
        Name of a method with numbers of its own, or of an adjustment.
    dataset
        Name of the data, or ``'other'`` for data that the papers have no numbers for.
    base
        Base of an adjustment; None for a method.

    Raises
    ------
    ValueError
        When the papers have none.

    Examples
    --------
    >>> recipe('pc_darts', 'cifar100').batch_size
    256
    """
    if preset in ADJUSTMENTS:
        return ADJUSTMENTS[preset](recipe(base or 'darts', dataset))
    if base is not None:
        raise ValueError(f'base={base} does nothing for {preset!r}; leave it out')
    if preset not in RECIPES:
        raise ValueError(f'{preset!r} is not a preset with numbers of its own; there are {", ".join(RECIPES)}')
    found = RECIPES[preset]
    if dataset not in found:
        raise ValueError(f'dataset is {dataset!r}, and {preset} has numbers for {", ".join(found)}; give one of them')
    return replace(found[dataset], dataset=dataset)
