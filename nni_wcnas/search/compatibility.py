"""Combinations of members, space and options that cannot work together: each refusal names both and says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nni.nas.nn.pytorch import Cell
from torch import nn

from nni_wcnas.contracts import Stage, Transform
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.search.members import Members
from nni_wcnas.spaces.nasbench201 import DenseCell
from nni_wcnas.supernet.relaxed_edges import candidate_factories

__all__ = ['CELL_OPTIONS', 'check_combination', 'check_space', 'check_transforms', 'why_uncompiled']

CELL_OPTIONS = ('recompute_cells', 'compile')
"""Arguments of ``Search`` that act on cells alone, and do nothing in a space without them."""


def check_transforms(transforms: Sequence[Transform]) -> None:
    """Refuse transforms that do not stack.

    Raises
    ------
    TypeError
        When one is no transform.
    ValueError
        When there are two of a kind, or two that do the same.
    """
    for transform in transforms:
        if not isinstance(transform, Transform):
            raise TypeError(f'transforms must be edge transforms (see `nni-wcnas options`), not {transform!r}')
    kinds = [type(transform).__name__ for transform in transforms]
    twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
    if twice is not None:
        raise InvalidArgument('transforms', kinds, 'keep one of them', reason=f'holds {twice} twice')
    # A cell has room for one extra operation on each edge.
    extra = [type(transform).__name__ for transform in transforms if transform.extra is not None]
    if len(extra) > 1:
        raise ValueError(f'{extra[0]} and {extra[1]} both add an operation to each edge; keep one of them')


def check_combination(members: Members) -> None:
    """Refuse members that contradict each other.

    Raises
    ------
    ValueError
        The message gives both names, the reason and the remedy.
    """
    relaxation, hypergradient, objective = members.relaxation, members.hypergradient, members.objective
    smoothing, schedule = members.smoothing, members.schedule
    if not relaxation.is_twice_differentiable and schedule.needs_second_derivatives:
        raise ValueError(
            f'{_kind(relaxation)} has no second derivatives, of which {_kind(schedule)} makes a Hessian: use '
            'relaxation=Softmax() or another schedule'
        )
    if smoothing.perturbs and not relaxation.on_simplex:
        raise ValueError(
            f'{_kind(smoothing)} perturbs mixing weights that add up to 1, and those of {_kind(relaxation)} do not: '
            'use smoothing=NoSmoothing() or another relaxation'
        )
    # Rows are one-hot, and a smoothing leaves zeros at zero: there is nothing that it could perturb.
    if smoothing.perturbs and relaxation.is_sparse:
        raise ValueError(
            f'{_kind(smoothing)} perturbs a mixture of operations, and {relaxation!r} leaves each edge the one that it '
            'draws: use smoothing=NoSmoothing() or another relaxation'
        )
    if schedule.judges_candidates and relaxation.is_sparse:
        raise ValueError(
            f'{_kind(schedule)} compares operations by what their removal costs, which is nothing for all that '
            f'{relaxation!r} has not drawn: use relaxation=Softmax() or another schedule'
        )
    # The look-ahead takes its gradient at the mixing weights as they are; a smoothing wants it at perturbed ones.
    if smoothing.perturbs and objective.reuse_gradient:
        raise ValueError(
            f'{_kind(objective)} reuses a gradient that knows nothing of the perturbation of {_kind(smoothing)}: use '
            'reuse_gradient=False'
        )
    if objective.reuse_gradient and not hypergradient.unrolls:
        raise ValueError(
            f'{_kind(objective)} wants to reuse the gradient of the lookahead, but '
            f'{_kind(hypergradient)} makes none: use hypergradient=Unrolled() or reuse_gradient=False'
        )
    if objective.needs_unrolling and not hypergradient.unrolls:
        raise ValueError(
            f'{_kind(objective)} learns B, the hyper-parameters of the tester, for which {_kind(hypergradient)} is too '
            'coarse: use hypergradient=Unrolled() or hyperparameter_lr=0'
        )
    # No cells are known before a space is: schedules answer what does not depend on them.
    first = schedule.stages(())[0].share
    if first is not None and not any(transform.share > 1 for transform in members.transforms):
        raise ValueError(
            f'{_kind(schedule)} changes the share of PartialChannels, which is not among the transforms: add '
            f'transforms=(PartialChannels(k={first}),)'
        )
    if first is not None and first != members.share:
        raise ValueError(
            f'{_kind(schedule)} begins with shares of {first} and PartialChannels has k={members.share}: give both '
            'the same number'
        )


def check_space(members: Members, space: nn.Module, cell_options: Sequence[str] = ()) -> None:
    """Refuse a space that the members cannot act on, before anything is built.

    Parameters
    ----------
    members
        The members of the search.
    space
        The model space.
    cell_options
        Those of :data:`CELL_OPTIONS` that are on.

    Raises
    ------
    ValueError
        The message gives the member and the remedy.
    """
    cells = [module for module in space.modules() if isinstance(module, (Cell, DenseCell))]
    if not cells:
        _check_without_cells(members, cell_options)
    stages = members.schedule.stages(())
    # Spaces of this package keep their arguments, with which one of another depth can be made.
    if any(map(_is_built_again, stages)) and not hasattr(space, '_arguments'):
        raise ValueError(
            f'{_kind(members.schedule)} builds the space again for each of its stages, which {_kind(space)} cannot be: '
            'use one of the spaces of nni_wcnas'
        )
    # Built for their refusal alone: factories that cannot be narrowed, or a width that the share does not divide.
    for share in {members.share, *(stage.share for stage in stages if stage.share is not None)}:
        for cell in cells:
            candidate_factories(_factories(cell), share)


def _is_built_again(stage: Stage) -> bool:
    """Whether a stage needs a supernet of its own, so that the space must be built again."""
    return stage.is_fresh or stage.num_cells is not None or stage.share is not None


def _factories(cell: Any) -> Any:
    """Return what builds the candidates of a cell, by name."""
    return cell.factories if isinstance(cell, DenseCell) else cell.op_candidates_factory


_NEEDS_CELLS: dict[str, Callable[[Members], bool]] = {
    'relaxation': lambda members: members.relaxation.needs_cells,
    'schedule': lambda members: members.schedule.needs_cells,
    'transforms': lambda members: bool(members.transforms),
}
"""Tests for the arguments of ``Search`` that may need cells, by argument."""


def _check_without_cells(members: Members, cell_options: Sequence[str]) -> None:
    """Refuse what acts on cells, for a space that has none."""
    if cell_options:
        raise InvalidArgument(cell_options[0], True, 'leave it out', reason='acts on cells, and this space has none')
    for argument, needs in _NEEDS_CELLS.items():
        if needs(members):
            member = getattr(members, argument)
            name = _kind(member[0] if argument == 'transforms' else member)
            raise ValueError(f'{name} acts on cells, and this space has none: leave {argument} out')


def why_uncompiled(members: Members) -> str | None:
    """Return which member keeps cells from being compiled, and why; None where there is none."""
    # torch.compile makes a backward pass that cannot be differentiated again.
    exact = getattr(members.hypergradient, 'by', None) == 'exact'
    if exact or members.schedule.needs_second_derivatives:
        member = f"{_kind(members.hypergradient)}(by='exact')" if exact else _kind(members.schedule)
        return f'{member} takes second derivatives, which compiled cells have not'
    if members.relaxation.is_sparse:
        return f'{_kind(members.relaxation)} chooses other operations at each step, and each choice would be compiled'
    random = next((transform for transform in members.transforms if transform.is_random), None)
    if random is not None:
        return f'{_kind(random)} changes them from epoch to epoch, and each change would be compiled'
    return None


def _kind(member: object) -> str:
    """Return the class name of a member, for messages."""
    return type(member).__name__
