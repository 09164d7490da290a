"""What a checkpoint of a search holds beside Lightning's own, and how a search goes on from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nni_wcnas.functional.random_state import random_state
from nni_wcnas.search.host import Host
from nni_wcnas.search.transition import apply_pruning, pruning_of, rebuild

__all__ = ['restore_stage', 'state_of']


def state_of(host: Host) -> dict[str, Any]:
    """Return what Lightning does not keep: random state, next epoch, stage, pruning, and the memories of schedule and
    objective."""
    return {
        'random_state': random_state(),
        'next_epoch': host.trainer.current_epoch + 1,
        'stage': host.clock.moment.stage,
        'seed': host.clock.moment.seed,
        'pruning': pruning_of(host.model),
        'memory': host.view.memory,
        'objective_memory': dict(host.memory),
        'stopped_with': host.stopped_with,
    }


def restore_stage(host: Host, state: Mapping[str, Any]) -> None:
    """Build the supernet of the checkpoint's stage, with what was taken out."""
    # Lightning calls this before it loads the weights and builds the optimisers, so
    # both find the supernet that was saved.
    index = state['stage']
    # A later stage's supernet may have another depth or width than the first, which
    # is the one that was built at the start.
    if any(host.stages.is_rebuilt(i) for i in range(1, index + 1)):
        rebuild(host, index)
    apply_pruning(host.model, state['pruning'])
    host.begin_annealing(index)
    host.clock.moment = host.clock.moment._replace(stage=index, seed=state['seed'])
    host.view.memory = dict(state['memory'])
    host.memory |= {name: value.to(host.device) for name, value in state['objective_memory'].items()}
    host.stopped_with = state['stopped_with']
    if host.stopped_with is not None:
        host.trainer.should_stop = True
