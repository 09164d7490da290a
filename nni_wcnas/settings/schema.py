"""The keys of a settings file: what one trial is told.

::

    data: {name: digits, batch_size: 64}        a data set and its arguments; `digits` alone will do
    space: ../search_spaces/darts.yml           a file, or {name: darts, width: 4, num_cells: 5}
    method: {preset: wcnas, trade_off: 1.0}     a preset and its arguments, and any axis overridden, as
                                                hypergradient: {name: unrolled, by: exact}
    search: {epochs: 10, warmup: 1}
    tester: {name: fq_gan, width: 32}           only used by objectives that need one; worst_case without it has an
                                                augmentation_policy; `pretrained: FILE`, or auto: made before the search
    auxiliary: {name: tied, lr: 0.025}          the auxiliary model and its numbers, or its name alone: tied,
                                                small_resnet, or a timm model's as resnet18; without it tied for a GAN,
                                                else small_resnet, whose `width` follows the space; `pretrained` as for
                                                the tester, whose auto means both
    pretraining: {steps: 1000, lr: 1e-3}        of the generator; auxiliary.steps or .epochs are those of its model
    retrain: {epochs: 5, channels: 8, cells: 5} the short training that a trial is judged by; all the numbers of
                                                `nni-wcnas retrain`, and as `recipe: pc_darts` a paper's
    difficulty: {share: 0.1}                    which validation examples are the hard ones
    truth: {table: FILE, columns: [clean]}      true values of NAS-Bench-201, CSV: shown for what is found, never used
    seed: 0
    device: auto                                cpu, cuda
    directory: runs
"""

from __future__ import annotations

import math
import platform
from dataclasses import fields
from importlib.metadata import version
from typing import Any, Literal, cast, get_type_hints

from pydantic import BaseModel, Field, create_model

from nni_wcnas.retrain.recipe import RECIPE_LIMITS, RETRAINING_RECIPES, RetrainingRecipe
from nni_wcnas.settings.members import Strict
from nni_wcnas.tester import AuxiliaryOptions

__all__ = [
    'AUTO',
    'AuxiliaryNumbers',
    'DifficultySource',
    'PretrainingNumbers',
    'RetrainNumbers',
    'SearchNumbers',
    'Settings',
    'TruthSource',
    'versions',
]

Device = Literal['auto', 'cpu', 'cuda']
"""Where a search computes; ``'auto'`` is the GPU if there is one."""

AUTO = 'auto'
"""Stands in the place of a pre-trained file for one that is made before the search, and shared by all it serves."""


# Limits that one key has by itself stand here; those between keys are in `consistency`, those that a factory sets in
# `building`.
class SearchNumbers(Strict):
    """Section ``search``: numbers of the supernet's training, with the names and defaults of ``SearchEvaluator``."""

    epochs: int = Field(default=50, ge=1)
    warmup: int = Field(default=0, ge=0)
    lr: float = Field(default=0.025, gt=0)
    # Rates, momentum and weight decay are those of table 25 of papers/wcnas, by default.
    min_lr: float = Field(default=0.001, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=3e-4, ge=0)
    precision: Literal['32-true', 'bf16-mixed'] = '32-true'


class AuxiliaryNumbers(Strict):
    """Section ``auxiliary``: the auxiliary model V and its SGD, with the names and defaults of ``make_auxiliary``."""

    name: str | None = None
    # The stem of a small ResNet is half as wide as its first stage.
    width: int | None = Field(default=None, ge=2)
    """Width of a ``small_resnet``; without it the width that fits the space."""
    lr: float = Field(default=0.025, gt=0)
    min_lr: float = Field(default=1e-3, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=3e-4, ge=0)
    gradient_clip_val: float | None = Field(default=None, gt=0)
    pretrained: str | None = None
    steps: int | None = Field(default=None, ge=1)
    """Steps of its pre-training; without steps and epochs those of ``pretraining``, or 1000."""
    epochs: int | None = Field(default=None, ge=1)

    def arguments(self) -> AuxiliaryOptions:
        """Return the arguments as ``SearchEvaluator`` takes them; a file that is still to be made is None."""
        found = self.model_dump(exclude={'steps', 'epochs'})
        return cast(AuxiliaryOptions, {**found, 'pretrained': None if self.pretrained == AUTO else self.pretrained})


class PretrainingNumbers(Strict):
    """Section ``pretraining``: how the generator is pre-trained, or where there is none the auxiliary model.

    Names and defaults are those of ``nni_wcnas.tester.pretrain``. Batch size and seed, which hold for the auxiliary
    model as well, are the search's where they are not given. Trials of several seeds share one file if it has a seed of
    its own.
    """

    steps: int | None = Field(default=None, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    lr: float | None = Field(default=None, gt=0)
    # None leaves the number to the generator's authors.
    discriminator_steps: int | None = Field(default=None, ge=1)
    top_k: bool = False
    core_set: int = Field(default=1, ge=1)
    batch_size: int | None = Field(default=None, ge=2)  # Batch norm needs two examples.
    seed: int | None = Field(default=None, ge=0, lt=2**31)

    def numbers(self) -> dict[str, Any]:
        """Return the numbers as keyword arguments of ``pretrain``."""
        return self.model_dump(exclude={'batch_size', 'seed'})  # These two are the data's.

    def seed_of(self, settings: Settings) -> int:
        """Return the seed of the pre-training: its own, or that of the trial."""
        return settings.seed if self.seed is None else self.seed


_TRIAL: dict[str, dict[str, float | None]] = {
    # Minutes instead of days: the papers train for 600 epochs, with 36 channels and 20 cells. A reduction splits the
    # channels in two, and two of three cells reduce.
    'epochs': {'default': 10}, 'channels': {'default': 16, 'ge': 2}, 'cells': {'default': 8, 'ge': 3},
    'lr': {'ge': None, 'gt': 0},
}
"""What the numbers of a trial's retraining have beside the defaults and the limits of a recipe."""


def _retraining_fields() -> dict[str, Any]:
    """Return the name of a recipe and, of each of its numbers but the seed, type, default and limits for pydantic."""
    types = get_type_hints(RetrainingRecipe)
    found: dict[str, Any] = {'recipe': (Literal[tuple(RETRAINING_RECIPES)] | None, None)}
    for number in fields(RetrainingRecipe):
        least, below = RECIPE_LIMITS.get(number.name, (None, math.inf))
        limits = {'ge': least, 'lt': None if below == math.inf else below}
        found[number.name] = types[number.name], Field(
            **{'default': number.default, **limits, **_TRIAL.get(number.name, {})})  # type: ignore[arg-type]
    del found['seed']
    return found


_RetrainingNumbers: Any = create_model('_RetrainingNumbers', __base__=Strict, **_retraining_fields())
"""A key for each number of a recipe: its type, default and limits stand there."""


class RetrainNumbers(_RetrainingNumbers):
    """Section ``retrain``: the short training of the found cell, with smaller sizes than the papers' by default.

    The keys are the fields of :class:`nni_wcnas.retrain.recipe.RetrainingRecipe`. The numbers of a named recipe
    replace the defaults here, and numbers that are written replace the recipe's. The data are the search's, so a
    recipe's batch size and cutout are not taken; nor is there a seed but the trial's.
    """

    def numbers(self) -> dict[str, Any]:
        """Return the numbers as keyword arguments of ``retrain``; those of a named recipe are in them already."""
        return self.model_dump(exclude={'recipe'})


class DifficultySource(Strict):
    """Section ``difficulty``: how hard each training example is, by a file or, without one, by reference models."""

    path: str | None = None
    kind: Literal['scores', 'votes', 'agreement'] = 'scores'
    models: int | None = Field(default=None, ge=1)
    share: float = Field(default=0.1, gt=0, lt=1)


class TruthSource(Strict):
    """Section ``truth``: a table that judges what the search finds, and the columns of it that are shown."""

    table: str
    columns: list[str] | None = Field(default=None, min_length=1)


class Settings(Strict):
    """All settings of a trial; sections that name an option hold its arguments as plain values."""

    # Maps rather than models: which keys they may have depends on the option that they name.
    data: dict[str, Any]
    space: dict[str, Any]
    method: dict[str, Any]
    search: SearchNumbers = SearchNumbers()
    tester: dict[str, Any] | None = None
    auxiliary: AuxiliaryNumbers = AuxiliaryNumbers()
    pretraining: PretrainingNumbers = PretrainingNumbers()
    retrain: RetrainNumbers = RetrainNumbers()
    difficulty: DifficultySource = DifficultySource()
    truth: TruthSource | None = None
    seed: int = Field(default=0, ge=0, lt=2**31)
    device: Device = 'auto'
    directory: str = 'runs'
    versions: dict[str, str] = Field(default_factory=dict)
    monitoring: dict[str, Any] | None = None
    """What a run has written about its own measures; nothing reads it from a settings file."""
    pretrained: dict[str, Any] | None = None
    """Pre-trained files that a run began with and their seconds, written and read by the run itself only."""

    def plain(self) -> dict[str, Any]:
        """Return all settings as a settings file spells them, empty sections left out."""
        found = {name: _plain(getattr(self, name)) for name in type(self).model_fields}
        return {name: value for name, value in found.items() if value is not None}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages on which a result depends besides the settings."""
    # Those whose releases may change numbers, by other kernels, other defaults or other random draws.
    packages = ('nni_wcnas', 'nni', 'torch', 'torchvision', 'pytorch_lightning', 'timm', 'numpy')
    return {'python': platform.python_version(), **{name: version(name) for name in packages}}


def _plain(value: Any) -> Any:
    """Convert a section's model to a map without its empty keys; anything else stays as it is."""
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True)
    return value
