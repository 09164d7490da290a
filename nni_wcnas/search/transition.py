"""The step from one stage to the next within one training run: the supernet, the optimisers, and what they keep."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer

from nni_wcnas.search.host import Host
from nni_wcnas.supernet.choices import cells_by_label
from nni_wcnas.supernet.widening import Widening

__all__ = ['apply_pruning', 'enter_stage', 'pruning_of', 'rebuild']


def enter_stage(module: Host, index: int) -> None:
    """Begin a stage: prune, then replace supernet and optimisers where the stage wants others.

    Parameters
    ----------
    module
        The search.
    index
        The stage, from 1.
    """
    # Before anything is rebuilt: what is pruned follows the scores at the end of the stage before.
    for cell in cells_by_label(module.model).values():
        cell.prune(module.schedule.pruned(index, cell.scores()))
    stages = module.stages
    if not stages.is_rebuilt(index):
        if stages.anneals_anew(index):
            _renew_optimizers(module, index)
        return
    # Kept now, as `rebuild` replaces the module's model and forgets its groups of parameters.
    old, weights, pruning = module.model, module.groups.weights, pruning_of(module.model)
    rebuild(module, index)
    apply_pruning(module.model, pruning)
    if stages.stages[index].is_fresh:
        _renew_optimizers(module, index)
        return
    # Carried over: weights and A first, then new optimisers on the new tensors, then SGD's momentum, which has the
    # shapes of the weights and is widened by the same choice of channels.
    widening, optimizer = Widening(), module.trainer.optimizers[0]
    widening.transfer(old, module.model)
    _renew_optimizers(module, index)
    for name, parameter in module.groups.weights.items():
        state = optimizer.state.get(weights[name], {})
        if state.get('momentum_buffer') is not None:
            momentum = widening.widened(name, state['momentum_buffer'], parameter)
            module.trainer.optimizers[0].state[parameter]['momentum_buffer'] = momentum


def pruning_of(supernet: nn.Module) -> dict[str, Any]:
    """Return what was taken out of each type of cell, in plain values that a checkpoint can hold."""
    return {
        label: {'pruned': [list(pair) for pair in sorted(cell.mixer.pruned)], 'dropped': sorted(cell.mixer.dropped)}
        for label, cell in cells_by_label(supernet).items()
    }


def apply_pruning(supernet: nn.Module, pruning: dict[str, Any]) -> None:
    """Take out what :func:`pruning_of` has written down; labels are the same at any depth and width."""
    for label, cell in cells_by_label(supernet).items():
        cell.prune((row, column) for row, column in pruning[label]['pruned'])
        cell.drop(pruning[label]['dropped'])


def rebuild(module: Host, index: int) -> None:
    """Give the search a new supernet of a stage's depth and share of the channels."""
    supernet = module.build_supernet(module.stages.num_cells(index), module.stages.share(index))
    module.set_model(supernet.to(module.device))


def _renew_optimizers(module: Host, index: int) -> None:
    """Build all optimisers anew, and let those go on that the stage does not concern.

    The adversary's go on; the architecture's too, unless the stage starts anew; the weights' start anew, but for a
    learning rate that goes on falling.
    """
    trainer, stages = module.trainer, module.stages
    before, configs = list(trainer.optimizers), list(trainer.lr_scheduler_configs)
    # First, as the evaluator builds its optimiser and cosine by it.
    module.begin_annealing(index)
    # Calls `configure_optimizers` again and lets Lightning wrap the results: the
    # module's `optimizers()` are the new ones.
    trainer.strategy.setup_optimizers(trainer)
    # Places in the list of `configure_optimizers`: weights first, architecture last, the adversary's in between.
    go_on = [*range(1, len(before) - 1), *([] if stages.stages[index].is_fresh else [len(before) - 1])]
    for position in go_on:
        trainer.optimizers[position].load_state_dict(before[position].state_dict())
    if not stages.anneals_anew(index):
        go_on.append(0)
        _copy_rates(before[0], trainer.optimizers[0])
    # The state of a cosine holds its place on the curve; without it, a learning rate that goes on would start again.
    for old, new in zip(configs, trainer.lr_scheduler_configs):
        if any(old.scheduler.optimizer is before[position] for position in go_on):
            new.scheduler.load_state_dict(old.scheduler.state_dict())


def _copy_rates(old: Optimizer, new: Optimizer) -> None:
    """Give the new optimiser the old one's learning rates; its state has shapes that may no longer fit."""
    for group, before in zip(new.param_groups, old.param_groups):
        group['lr'] = before['lr']
