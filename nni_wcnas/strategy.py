"""Search: the one NNI strategy, which holds a member of each of six axes."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.supermodule.differentiable import (
    DifferentiableMixedCell,
    DifferentiableMixedLayer,
    DifferentiableMixedRepeat,
)
from nni.nas.strategy import DARTS
from pytorch_lightning import LightningModule
from torch import nn

from nni_wcnas.contracts import (
    Hypergradient,
    Objective,
    Schedule,
    Selection,
    Smoothing,
    Tester,
    Transform,
    Weighting,
)
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.evaluator import SearchEvaluator
from nni_wcnas.functional.mixing import running_sum, stacked_sum
from nni_wcnas.hypergradient import FirstOrder
from nni_wcnas.objective import AverageCase
from nni_wcnas.recipes import Recipe
from nni_wcnas.relaxation import Softmax
from nni_wcnas.schedule import SingleStage
from nni_wcnas.search.compatibility import (
    CELL_OPTIONS,
    check_combination,
    check_space,
    check_transforms,
    why_uncompiled,
)
from nni_wcnas.search.evaluator_parts import bring_tester, warn_of_other_data, warn_of_unused_parts
from nni_wcnas.search.members import Members
from nni_wcnas.search.memory_layout import has_unsafe_layout, to_channels_last
from nni_wcnas.search.module import SearchModule
from nni_wcnas.search.staging import Stages
from nni_wcnas.selection import Magnitude
from nni_wcnas.smoothing import NoSmoothing
from nni_wcnas.supernet import Clock, Compilation, Compiled, MixingWeights, RelaxedCell, RelaxedDenseCell
from nni_wcnas.supernet.choices import cells_by_label, label_mixers, relaxed_cells
from nni_wcnas.supernet.single_choice import RelaxedLayer, RelaxedRepeat
from nni_wcnas.tester import convolution_weights

__all__ = ['Search']

_logger = logging.getLogger(__name__)


class Search(DARTS):
    """Differentiable architecture search, composed of six choices and any number of edge transforms.

    With every axis at its neutral member (the defaults), ``selection=Magnitude(by='logit')`` and
    ``channels_last=False``, this is
    ``nni.nas.strategy.DARTS``, bit for bit. It runs wherever that strategy runs: on NNI's hub spaces, inside
    ``NasExperiment``, with any Lightning evaluator of one optimiser. The worst-case objective brings an augmentation
    policy to an evaluator without a tester; any other tester is a :class:`~nni_wcnas.evaluator.SearchEvaluator`'s.

    Parameters
    ----------
    relaxation
        How the discrete choice is made continuous.
    objective
        What the architecture minimises.
    hypergradient
        How the inner problem enters the architecture's gradient.
    smoothing
        What the architecture is while the weights learn.
    selection
        How the cell is read off.
    schedule
        Which supernets are trained, for how long.
    transforms
        What is done to the edges of cells beside mixing their candidates.
    channels_last
        Train the supernet in the channels-last memory format: faster on CPU and GPU, equal up to rounding.
    fast_cell
        Compute what the edges of a cell share once: faster, in less memory, equal up to rounding. False computes every
        operation on every edge. None is True where ``channels_last`` is, which it needs.
    recompute_cells
        Keep only the inputs of each cell and compute it again in the backward pass: a larger batch fits, a pass through
        the supernet takes about a third longer.
    compile
        Compile the cells with ``torch.compile``: equal up to rounding. It takes minutes before the first step and gains
        nothing on a CPU. Where it cannot work, as with members that take second derivatives, cells stay as they are,
        and one warning says so.
    arc_learning_rate
        Learning rate of Adam (0.5, 0.999) on the architecture.
    arc_weight_decay
        Weight decay of that Adam, as an L2 penalty.
    arc_gradient_clip_val
        Clip the norm of the architecture's gradient; None does not clip.
    gradient_clip_val
        Clip the norm of the weights' gradient; None does not clip.
    log_prob_every_n_step
        Log the mixing weights every so many batches.
    mutation_hooks
        Further hooks that replace modules of the space, as in NNI's one-shot strategies.

    Raises
    ------
    ValueError
        When two members cannot work together; the message names both and says why.

    Examples
    --------
    >>> from nni_wcnas import AverageCase, Search, Unrolled
    >>> Search(hypergradient=Unrolled(), objective=AverageCase(every=2)).objective
    AverageCase(every=2)
    """

    def __init__(
        self,
        *,
        relaxation: Weighting | None = None,
        objective: Objective | None = None,
        hypergradient: Hypergradient | None = None,
        smoothing: Smoothing | None = None,
        selection: Selection | None = None,
        schedule: Schedule | None = None,
        transforms: Sequence[Transform] = (),
        channels_last: bool = True,
        fast_cell: bool | None = None,
        recompute_cells: bool = False,
        compile: bool = False,
        arc_learning_rate: float = 3e-4,
        arc_weight_decay: float = 1e-3,
        arc_gradient_clip_val: float | None = None,
        gradient_clip_val: float | None = None,
        log_prob_every_n_step: int = 10,
        mutation_hooks: list[Any] | None = None,
    ) -> None:
        self.relaxation: Weighting = relaxation or Softmax()
        self.objective, self.hypergradient = objective or AverageCase(), hypergradient or FirstOrder()
        self.smoothing, self.selection = smoothing or NoSmoothing(), selection or Magnitude()
        self.schedule: Schedule = schedule or SingleStage()
        self.transforms: tuple[Transform, ...] = tuple(transforms)
        self.arc_weight_decay, self.arc_gradient_clip_val = arc_weight_decay, arc_gradient_clip_val
        self.recipe: Recipe | None = None
        """The numbers of the preset that made this search; None where no preset did."""
        self._clock = Clock()
        self._supernet: ModelSpace | None = None
        # Known once `mutate_evaluator` has seen the evaluator, as is the supernet
        # once `mutate_model` has seen the space.
        self._max_epochs: int | None = None
        self._learner_weights = 0
        # The fast cell computes in the channels-last memory format alone.
        if fast_cell and not channels_last:
            raise InvalidArgument('fast_cell', True, 'leave one of them out', reason='needs channels_last=True')
        self.channels_last = channels_last
        self.fast_cell = channels_last if fast_cell is None else fast_cell
        self.recompute_cells, self.compile = recompute_cells, compile
        self._check_members()
        # Operations see 1 / share of the channels: shares of several transforms multiply.
        self._share = self.members.share
        _check_numbers(
            arc_learning_rate, arc_weight_decay, arc_gradient_clip_val, gradient_clip_val, log_prob_every_n_step
        )
        super().__init__(
            arc_learning_rate=arc_learning_rate,
            gradient_clip_val=gradient_clip_val,
            log_prob_every_n_step=log_prob_every_n_step,
            mutation_hooks=mutation_hooks,
        )

    def _check_members(self) -> None:
        """Check that each member belongs to its axis, then that all of them work together."""
        for axis, kind in _AXES.items():
            if not isinstance(getattr(self, axis), kind):
                raise TypeError(
                    f'{axis} must be one of the members of its axis (see `nni-wcnas options`), '
                    f'not {getattr(self, axis)!r}'
                )
        check_transforms(self.transforms)
        check_combination(self.members)

    @property
    def members(self) -> Members:
        """The members of all axes, and the transforms."""
        return Members(**{axis: getattr(self, axis) for axis in _AXES}, transforms=self.transforms)

    def extra_repr(self) -> str:
        """Return the members as they would be written in Python."""
        members = [f'{axis}={getattr(self, axis)!r}' for axis in _AXES]
        return ', '.join([*members, *([f'transforms={self.transforms!r}'] if self.transforms else [])])

    # ------------------------------------------------------------------------------------------------------------------
    # NNI's seams

    def configure_softmax(self) -> nn.Module:
        """Return the relaxation as the softmax module of NNI's layer, input and depth choices."""
        # NNI calls this for every module that it visits: all of them share the
        # clock, and `label_mixers` names them later.
        return MixingWeights(self.relaxation, self._clock)

    def default_mutation_hooks(self) -> list[Any]:
        """Return NNI's hooks, with our cells, layer choices and repeats in the place of its own."""
        # The list keeps NNI's order, whose last hook refuses everything that no other has replaced.
        ours = {theirs.mutate: relaxed.mutate for theirs, relaxed in _RELAXED.items()}
        return [RelaxedDenseCell.mutate, *(ours.get(hook, hook) for hook in super().default_mutation_hooks())]

    def run_hook(self, hook: Any, name: str, module: nn.Module, memo: dict[str, Any]) -> Any:
        """Hand the members to the modules that need them, as ``mutate_kwargs``."""

        def with_members(module: nn.Module, name: str, memo: dict[str, Any], kwargs: dict[str, Any]) -> Any:
            return hook(
                module,
                name,
                memo,
                {
                    **kwargs,
                    'weighting': self.relaxation,
                    'selection': self.selection,
                    'transforms': self.transforms,
                    'share': self._share,
                    'clock': self._clock,
                    'mix': running_sum if self.channels_last else stacked_sum,
                },
            )

        return super().run_hook(with_members, name, module, memo)

    def mutate_model(self, model: ModelSpace) -> ModelSpace:
        """Turn the space into the supernet of the first stage: in place, unless that stage has another depth."""
        # Before anything is replaced: a space that is refused stays as it was.
        check_space(self.members, model, [option for option in CELL_OPTIONS if getattr(self, option)])
        # Counted in the space as it is given, before candidates become as narrow as PartialChannels makes them.
        self._learner_weights = convolution_weights(model)
        first = self.schedule.stages(())[0]
        depth = getattr(model, '_arguments', {}).get('num_cells')
        if first.num_cells not in (None, depth):
            model = self._built_again(model, first.num_cells)
        return self._relaxed(model, first.share)

    def _relaxed(self, model: ModelSpace, share: int | None) -> ModelSpace:
        """Mutate a space into a supernet, then set how its cells are computed."""
        # Before NNI's mutation, whose hooks are told the share.
        if share is not None:
            self._share = share
        supernet = self._supernet = super().mutate_model(model)
        label_mixers(supernet)
        cells = relaxed_cells(supernet)
        # Spaces may leave out candidates of single edges, as S1 does: those are pruned from the start.
        restrictions: dict[str, set[tuple[int, int]]] = getattr(model, 'restrictions', dict)()
        for cell in cells:
            cell.prune(restrictions.get(cell.label, ()))
        if self.channels_last and has_unsafe_layout(supernet):
            _logger.warning(
                'This supernet stays in the plain memory layout: torch corrupts memory on strided pointwise '
                'convolutions of fewer '
                'than 8 channels in channels-last on the CPU. A larger width makes the search faster.'
            )
        elif self.channels_last:
            supernet.to(memory_format=torch.channels_last)
            # Loaders give images in the plain layout: they are converted once, at the entrance.
            supernet.register_forward_pre_hook(to_channels_last)
            for cell in cells:
                cell.fast = self.fast_cell
        for cell in cells:
            cell.recompute = self.recompute_cells
        if self.compile:
            self._compile(cells)
        return supernet

    @property
    def supernet(self) -> ModelSpace:
        """The supernet that is trained; with several stages, that of the last one that has begun."""
        if self._supernet is None:
            raise RuntimeError('there is no supernet before the strategy is given a model space')
        return self._supernet

    @property
    def tester(self) -> Tester | None:
        """The tester of a worst-case search, of the evaluator or brought by the strategy; None for an objective without
        one."""
        return self.oneshot_module.adversary_home.tester if self.objective.needs_tester else None

    def _build_supernet(self, num_cells: int | None, share: int | None) -> ModelSpace:
        """Build a supernet for another stage, with fresh weights."""
        return self._relaxed(self._built_again(self.supernet, num_cells), share)

    def _built_again(self, space: ModelSpace, num_cells: int | None) -> ModelSpace:
        """Build the same space again, with choices that are open, at another depth if one is given."""
        # The space that was mutated has become a supernet, so a new one is made from its constructor's arguments.
        arguments: dict[str, Any] = space._arguments
        return type(space)(**(arguments if num_cells is None else {**arguments, 'num_cells': num_cells}))

    def _compile(self, cells: list[RelaxedCell]) -> None:
        """Let the cells be compiled when they first run, unless a member keeps them from it."""
        compilation = Compilation()
        reason = why_uncompiled(self.members)
        if reason is not None:
            compilation.give_up(reason)
        for cell in cells:
            cell.compiled = Compiled(compilation)

    def mutate_evaluator(self, evaluator: Lightning) -> Lightning:
        """Wrap the evaluator's module; validate on clean images where the evaluator has them."""
        self._max_epochs = evaluator.trainer.max_epochs
        # First, so that a tester that cannot be used is refused before the evaluator is wrapped.
        adversary = bring_tester(self.objective, evaluator, self._supernet, learner_weights=self._learner_weights)
        mutated = super().mutate_evaluator(evaluator)
        mutated.module.adversary = adversary
        stages = mutated.module.stages
        # A `max_epochs` of -1 lets Lightning train without end: kept, unless stages give the search a length.
        if self._max_epochs is not None and self._max_epochs >= 0 or len(stages.stages) > 1:
            mutated.trainer.fit_loop.max_epochs = stages.epochs
        # Ours validates on clean images; a stock evaluator on its own loader.
        if isinstance(evaluator, SearchEvaluator):
            mutated.val_dataloaders = evaluator.validation_dataloader()
        if self.recipe is not None:
            warn_of_other_data(self.recipe, evaluator)
        return mutated

    def configure_oneshot_module(self, training_module: LightningModule) -> SearchModule:
        """Return the training step; warn of a part of the evaluator that the objective does not use."""
        warn_of_unused_parts(self.objective, training_module)
        return SearchModule(
            training_module,
            members=self.members,
            stages=self._stages(),
            clock=self._clock,
            build_supernet=self._build_supernet,
            arc_learning_rate=self.arc_learning_rate,
            arc_weight_decay=self.arc_weight_decay,
            arc_gradient_clip_val=self.arc_gradient_clip_val,
            gradient_clip_val=self.gradient_clip_val,
            log_prob_every_n_step=self.log_prob_every_n_step,
        )

    def _stages(self) -> Stages:
        """Return the stages of the schedule, all of known length."""
        # NNI asks for the module after it has mutated the space, so the cells are
        # known; 1 epoch stands for endless training.
        layouts = [] if self._supernet is None else [cell.layout for cell in cells_by_label(self._supernet).values()]
        epochs = self._max_epochs
        return Stages(self.schedule.stages(layouts), 1 if epochs is None or epochs < 0 else epochs)

    def val_dataloader(self, train_dataloader_fn: Callable[[], Any], val_dataloader_fn: Callable[[], Any]) -> Any:
        """Validate after each epoch (NNI's own strategies do not)."""
        # NNI's DARTS returns None here, as its validation half is a part of each training batch.
        del train_dataloader_fn  # Unused: validation never sees the training half.
        return val_dataloader_fn()


_RELAXED: dict[Any, Any] = {
    DifferentiableMixedCell: RelaxedCell,
    DifferentiableMixedLayer: RelaxedLayer,
    DifferentiableMixedRepeat: RelaxedRepeat,
}
"""Our supernet modules by those of NNI that they take the place of."""

_AXES = {
    'relaxation': Weighting,
    'objective': Objective,
    'hypergradient': Hypergradient,
    'smoothing': Smoothing,
    'selection': Selection,
    'schedule': Schedule,
}
"""The class of each axis's members."""


def _check_numbers(
    arc_learning_rate: float,
    arc_weight_decay: float,
    arc_gradient_clip_val: float | None,
    gradient_clip_val: float | None,
    log_prob_every_n_step: int,
) -> None:
    """Refuse numbers of the optimisers that are out of range."""
    if not 0 <= arc_learning_rate < math.inf:
        raise InvalidArgument('arc_learning_rate', arc_learning_rate, 'be 0 or more and finite')
    if not 0 <= arc_weight_decay < math.inf:
        raise InvalidArgument('arc_weight_decay', arc_weight_decay, 'be 0 or more and finite')
    for name, value in (('gradient_clip_val', gradient_clip_val), ('arc_gradient_clip_val', arc_gradient_clip_val)):
        if value is not None and not 0 < value < math.inf:
            raise InvalidArgument(name, value, 'be positive and finite, or None for no clip')
    if log_prob_every_n_step < 1:
        raise InvalidArgument('log_prob_every_n_step', log_prob_every_n_step, 'be at least 1 batch')
