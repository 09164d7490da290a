"""A search of several stages that was killed and resumed ends in the same bits as one that was not."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from staged_search import OPERATIONS, run
from torch import Tensor

from nni_wcnas import GroupWorstCase, InstanceHardness, SaliencyAware, Search, SingleStage, Softmax, Unrolled, WorstCase
from nni_wcnas.contracts import Schedule
from nni_wcnas.relaxation import Dirichlet
from nni_wcnas.schedule import Progressive, Projected, SkipCount
from nni_wcnas.transform import PartialChannels, SkipDropout


class Killed(Callback):
    """Ends the process's search in the first batch of an epoch: the checkpoint of the epoch before is the last."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.current_epoch == self.epoch:
            raise RuntimeError('killed')


def everything(strategy: Search) -> dict[str, Any]:
    """What a search ends with: parameters, statistics, optimisers, what was taken out, what it returns."""
    module = strategy.oneshot_module
    mixers = {label: choice.mixer for label, choice in module.choices().items()}
    return {
        'state': module.state_dict(),
        'optimizers': [optimizer.state_dict() for optimizer in module.trainer.optimizers],
        'schedulers': [config.scheduler.state_dict() for config in module.trainer.lr_scheduler_configs],
        'epochs': module.trainer.current_epoch,
        'gone': {label: (sorted(mixer.pruned), sorted(mixer.dropped)) for label, mixer in mixers.items()},
        'memory': module.view.memory,
        'objective': module.memory,
        'sample': next(strategy.list_models()).sample,
        'random': torch.get_rng_state(),
    }


def differences(one: Any, other: Any, path: str = '') -> list[str]:
    """Where two results are not the same bits."""
    if isinstance(one, Tensor):
        return [] if one.equal(other) else [path]
    if isinstance(one, (dict, list, tuple)):
        pairs = one if isinstance(one, dict) else dict(enumerate(one))
        others = other if isinstance(other, dict) else dict(enumerate(other))
        if pairs.keys() != others.keys():
            return [f'{path}: {list(pairs)} and {list(others)}']
        return [found for key in pairs for found in differences(pairs[key], others[key], f'{path}/{key}')]
    return [] if one == other else [f'{path}: {one} and {other}']


class Skips(Softmax):
    """Skips weigh less than all others at first, then more."""

    def weights(self, alpha, moment):
        shift = torch.zeros_like(alpha)
        shift[:, OPERATIONS.index('skip_connect')] = 5.0 if moment.epoch >= 2 else -5.0
        return torch.softmax(alpha + shift, -1)


PARTIAL = {'transforms': (PartialChannels(2),)}
CASES: dict[str, tuple[Schedule, dict[str, Any], tuple[int, ...]]] = {
    'an objective that remembers': (
        SingleStage(epochs=3),
        {'members': {'objective': InstanceHardness('thompson')}},
        (1,),
    ),
    'an objective that weighs groups': (SingleStage(epochs=3), {'members': {'objective': GroupWorstCase(0.5)}}, (1,)),
    'an objective with a learner of its own, over two stages': (
        Progressive((2,), epochs=2),
        {'members': {'objective': SaliencyAware(every=2, saliency_every=1, steps=1), 'hypergradient': Unrolled()}},
        (3,),
    ),
    'fresh, deeper': (Progressive((3, 2), num_cells=(3, 4, 5), epochs=2, warmup=1), {}, (2, 3, 4)),
    'fresh, with random relaxation and dropout': (
        Progressive((2,), epochs=2),
        {'members': {'relaxation': Dirichlet(), 'transforms': (SkipDropout(),)}},
        (2, 3),
    ),
    'carried over, wider': (
        Progressive((3,), shares=(2, 1), is_fresh=False, epochs=2),
        {'members': PARTIAL, 'width': 8},
        (2, 3),
    ),
    'carried over, pruned': (Progressive((0.5,), is_fresh=False, epochs=2), {}, (2, 3)),
    'projected': (Projected(epochs=1, tune_epochs=2), {}, (1, 2, 11)),
    'projected, with random relaxation and dropout': (
        Projected(epochs=1, tune_epochs=1, criterion='loss'),
        {'members': {'relaxation': Dirichlet(), 'transforms': (SkipDropout(),)}},
        (2,),
    ),
    'projected under a rule': (SkipCount(Projected(epochs=1, tune_epochs=1), limit=5), {}, (3,)),
    'stopped': (SkipCount(SingleStage(5)), {'members': {'relaxation': Skips()}}, (1, 2)),
}


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The end of each search that nothing interrupts, made when it is first asked for."""

    class Results(dict):
        def __missing__(self, name: str) -> dict[str, Any]:
            schedule, arguments, _ = CASES[name]
            folder = tmp_path_factory.mktemp('unbroken')
            self[name] = everything(run(schedule, checkpoint_directory=folder, **arguments))
            return self[name]

    return Results()


def broken(schedule: Schedule, epoch: int, folder: Path, **arguments: Any) -> Search:
    """The same search, killed in an epoch and resumed in a process whose random state is another."""
    with pytest.raises(RuntimeError, match='killed'):
        run(schedule, callbacks=(Killed(epoch),), checkpoint_directory=folder, **arguments)
    assert torch.load(folder / 'last.ckpt', weights_only=True)['epoch'] == epoch - 1
    return run(schedule, seed=99, checkpoint_directory=folder, resume=folder / 'last.ckpt', **arguments)


@pytest.mark.parametrize(('name', 'epoch'), [(name, epoch) for name, case in CASES.items() for epoch in case[2]])
def test_resumed_search_ends_bit_for_bit_alike(name, epoch, unbroken, tmp_path):
    """Killed in the first epoch of a stage, and within it."""
    schedule, arguments, _ = CASES[name]
    resumed = everything(broken(schedule, epoch, tmp_path, **arguments))
    assert differences(unbroken[name], resumed) == []


def test_the_searches_above_prune_drop_and_stop(unbroken):
    assert len(unbroken['fresh, deeper']['gone']['normal'][0]) == 5 * 2
    assert len(unbroken['carried over, pruned']['gone']['normal'][0]) == 5 * 2
    assert len(unbroken['projected']['gone']['reduce'][1]) == 1
    assert unbroken['projected']['memory']['normal'] == {'edges': [], 'nodes': []}
    assert unbroken['stopped']['epochs'] == 3, 'of five'


def test_worst_case_search_across_stages(tmp_path):
    schedule = Progressive((2,), num_cells=(3, 4), epochs=2)
    members = {'objective': WorstCase(every=2), 'hypergradient': Unrolled()}
    whole = run(schedule, members=members, has_tester=True, checkpoint_directory=tmp_path / 'whole')
    expected = everything(whole)
    resumed = broken(schedule, 2, tmp_path / 'cut', members=members, has_tester=True)
    assert differences(expected, everything(resumed)) == []


def test_a_search_that_was_stopped_by_its_rule_stays_stopped(unbroken, tmp_path):
    """Resumed from its last checkpoint, it trains no further and returns the same cell."""
    schedule, arguments, _ = CASES['stopped']
    run(schedule, checkpoint_directory=tmp_path, **arguments)

    class NoBatch(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            raise AssertionError('the search was over')

    again = run(
        schedule, seed=99, callbacks=(NoBatch(),), checkpoint_directory=tmp_path, resume=tmp_path / 'last.ckpt',
        **arguments,
    )  # fmt: skip
    assert next(again.list_models()).sample == unbroken['stopped']['sample']


def test_checkpoints_hold_plain_values(tmp_path):
    """Nothing is executed when one is loaded."""
    run(Projected(epochs=1, tune_epochs=1), checkpoint_directory=tmp_path)
    state = torch.load(tmp_path / 'last.ckpt', weights_only=True)['nni_wcnas']
    assert state['stage'] == 1 and set(state['pruning']) == set(state['memory']) == {'normal', 'reduce'}
    assert len(state['pruning']['normal']['pruned']) == 5 * 3 and len(state['pruning']['normal']['dropped']) == 1
