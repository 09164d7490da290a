"""From one stage to the next inside one training run: another supernet, other optimisers, and what they keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

from nni_wcnas.supernet.choices import cells_by_label
from nni_wcnas.supernet.widening import Widening

if TYPE_CHECKING:
    from nni_wcnas.search.module import SearchModule

__all__ = ['apply_pruning', 'enter_stage', 'pruning_of', 'rebuild']


def enter_stage(module: SearchModule, index: int) -> None:
    """Prune; put another supernet and other optimisers in the place of the old ones where the stage wants them."""
    for cell in cells_by_label(module.model).values():
        cell.prune(module.schedule.pruned(index, cell.scores()))
    stages = module.stages
    if not stages.is_rebuilt(index):
        if stages.anneals_anew(index):
            _renew_optimizers(module, index)
        return
    old, weights, pruning = module.model, module.weights(), pruning_of(module.model)
    rebuild(module, index)
    apply_pruning(module.model, pruning)
    if stages.stages[index].is_fresh:
        _renew_optimizers(module, index)
        return
    widening, optimizer = Widening(), module.trainer.optimizers[0]
    widening.transfer(old, module.model)
    _renew_optimizers(module, index)
    for name, parameter in module.weights().items():
        state = optimizer.state.get(weights[name], {})
        if state.get('momentum_buffer') is not None:
            momentum = widening.widened(name, state['momentum_buffer'], parameter)
            module.trainer.optimizers[0].state[parameter]['momentum_buffer'] = momentum


def pruning_of(supernet: nn.Module) -> dict[str, Any]:
    """What was taken out of each type of cell, in plain values."""
    return {
        label: {'pruned': [list(pair) for pair in sorted(cell.mixer.pruned)], 'dropped': sorted(cell.mixer.dropped)}
        for label, cell in cells_by_label(supernet).items()
    }


def apply_pruning(supernet: nn.Module, pruning: dict[str, Any]) -> None:
    """Take out what :func:`pruning_of` has written down."""
    for label, cell in cells_by_label(supernet).items():
        cell.prune((row, column) for row, column in pruning[label]['pruned'])
        cell.drop(pruning[label]['dropped'])


def rebuild(module: SearchModule, index: int) -> None:
    """Give the search a new supernet, of the shape that a stage has."""
    supernet = module.build_supernet(module.stages.num_cells(index), module.stages.share(index))
    module.change_model(supernet.to(module.device))


def _renew_optimizers(module: SearchModule, index: int) -> None:
    """Build all optimisers. The adversary's go on; the architecture's too, unless the stage starts anew; the weights'
    start anew, but for a learning rate that goes on falling."""
    trainer, stages = module.trainer, module.stages
    before, configs = list(trainer.optimizers), list(trainer.lr_scheduler_configs)
    module.begin_annealing(index)
    trainer.strategy.setup_optimizers(trainer)
    go_on = [*range(1, len(before) - 1), *([] if stages.stages[index].is_fresh else [len(before) - 1])]
    for position in go_on:
        trainer.optimizers[position].load_state_dict(before[position].state_dict())
    if not stages.anneals_anew(index):
        go_on.append(0)
        _copy_rates(before[0], trainer.optimizers[0])
    for old, new in zip(configs, trainer.lr_scheduler_configs):
        if any(old.scheduler.optimizer is before[position] for position in go_on):
            new.scheduler.load_state_dict(old.scheduler.state_dict())


def _copy_rates(old: Optimizer, new: Optimizer) -> None:
    for group, before in zip(new.param_groups, old.param_groups):
        group['lr'] = before['lr']
