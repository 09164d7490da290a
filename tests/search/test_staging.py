"""The time line of stages, and real searches that go from one stage to the next."""

import copy
import math
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from staged_search import OPERATIONS, run
from torch import Tensor

from nni_wcnas import RandomSmoothing, Search, SingleStage, Softmax, Unrolled, WorstCase
from nni_wcnas.contracts import CellLayout, Moment, Schedule, Stage
from nni_wcnas.relaxation import GumbelSoftmax
from nni_wcnas.schedule import Progressive, Projected, SkipCount
from nni_wcnas.search.staging import Annealing, Stages
from nni_wcnas.spaces import NASBench201
from nni_wcnas.spaces.robust import s1
from nni_wcnas.supernet.choices import cells_by_label
from nni_wcnas.transform import AuxiliarySkip, PartialChannels, SkipDropout

# ----------------------------------------------------------------------------------------------------------------
# arithmetic


def test_time_goes_on_with_the_weights():
    """As their learning rate does; decisions come after the search, at its last moment."""
    carried = Stages(Progressive((4,), shares=(6, 4), is_fresh=False, epochs=25).stages(()), 1)
    assert [carried.moment(epoch, 0).run for epoch in (0, 24, 25, 49)] == [(0, 50), (24, 50), (25, 50), (49, 50)]
    assert [RandomSmoothing().radius(carried.moment(e, 0)) for e in (0, 25)] == pytest.approx([0.03, 0.165])
    projected = Stages(Projected(epochs=50).stages(()), 1)
    assert [projected.moment(epoch, 0).run for epoch in (0, 49, 50, 51)] == [(0, 50), (49, 50), (49, 50), (49, 50)]
    moments = [projected.moment(epoch, 0) for epoch in (49, 50)]
    assert [moment.epoch for moment in moments] == [49, 0], 'schedules count the epochs of their stage'
    assert len({AuxiliarySkip().extra_weight(moment) for moment in moments}) == 1
    assert [GumbelSoftmax(8.0, 2.0).temperature(moment) for moment in moments] == [2.0, 2.0]


def test_epochs_of_pdarts():
    stages = Stages(Progressive((5, 3), num_cells=(5, 11, 17), epochs=25, warmup=10).stages(()), max_epochs=1)
    assert (stages.epochs, stages.starts, stages.lengths) == (75, [0, 25, 50], [25, 25, 25])
    assert [stages.index(epoch) for epoch in (0, 24, 25, 49, 50, 74, 90)] == [0, 0, 1, 1, 2, 2, 2]
    assert [epoch for epoch in range(75) if stages.starts_at(epoch) is not None] == [25, 50]
    assert [stages.starts_at(epoch) for epoch in (25, 50)] == [1, 2]
    assert [stages.warmup_end(epoch) for epoch in (0, 24, 25, 74)] == [10, 10, 35, 60]
    assert stages.moment(37, seed=7) == Moment(12, 25, 10, 1, 7, run=(12, 25)), 'each stage begins anew'
    assert [stages.num_cells(index) for index in range(3)] == [5, 11, 17]
    assert [stages.annealing(index) for index in range(3)] == [Annealing(25, 1.0)] * 3


def test_a_stage_without_a_length_takes_the_evaluators():
    stages = Stages((Stage(None, warmup=1), Stage(3)), max_epochs=5)
    assert (stages.lengths, stages.starts, stages.epochs) == ([5, 3], [0, 5], 8)
    assert Stages(SingleStage().stages(()), 50).epochs == 50


def test_epochs_of_darts_pt():
    layouts = [CellLayout(OPERATIONS), CellLayout(OPERATIONS, label='reduce')]
    stages = Stages(Projected().stages(layouts), max_epochs=50)
    assert stages.lengths == [50, 81]
    assert stages.annealing(0) == Annealing(50, 1.0) and stages.annealing(1) == Annealing(81, 0.1)
    assert stages.anneals_anew(1) and not stages.is_rebuilt(1)


def test_stages_that_go_on_share_one_annealing():
    stages = Stages(Progressive((4,), shares=(6, 4), is_fresh=False, epochs=25).stages(()), 1)
    assert stages.annealing(0) == stages.annealing(1) == Annealing(50, 1.0)
    assert stages.is_rebuilt(1) and not stages.is_rebuilt(0) and not stages.anneals_anew(1)
    mixed = Stages([Stage(2), Stage(3), Stage(5, is_fresh=True), Stage(7), Stage(11, learning_rate_factor=0.5)], 1)
    expected = [(5, 1.0), (5, 1.0), (12, 1.0), (12, 1.0), (11, 0.5)]
    assert [mixed.annealing(index) for index in range(5)] == expected


def test_depth_and_share_last_until_the_next():
    stages = Stages([Stage(1), Stage(1, num_cells=5), Stage(1, share=2), Stage(1, num_cells=5), Stage(1, share=1)], 1)
    assert [stages.num_cells(index) for index in range(5)] == [None, 5, 5, 5, 5]
    assert [stages.share(index) for index in range(5)] == [None, None, 2, 2, 1]
    assert [stages.is_rebuilt(index) for index in range(5)] == [False, True, True, False, True]


def test_time_lines_that_cannot_be():
    with pytest.raises(ValueError, match='a schedule needs at least one stage'):
        Stages((), 1)
    with pytest.raises(ValueError, match='warmup=2 leaves none of the 2 epochs to search in; .* raise max_epochs'):
        Stages((Stage(5), Stage(None, warmup=2)), 2)


# ----------------------------------------------------------------------------------------------------------------
# real searches


class Record(Callback):
    """What each epoch begins with (after its schedule has acted) and ends with."""

    def __init__(self):
        self.begins, self.ends = [], []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx == 0:
            self.begins.append(self._state(trainer, module))

    def on_train_epoch_end(self, trainer, module):
        self.ends.append(self._state(trainer, module))

    @staticmethod
    def _state(trainer, module):
        optimizers, cells = trainer.optimizers, cells_by_label(module.model)
        return {
            'cells': len(module.model.cells),
            'weights': {name: p.detach().clone() for name, p in module.weights().items()},
            'alphas': {name: p.detach().clone() for name, p in module.architecture().items()},
            'rates': [optimizer.param_groups[0]['lr'] for optimizer in optimizers],
            'momentum': _states(module.weights(), optimizers[0], 'momentum_buffer'),
            'first': _states(module.architecture(), optimizers[-1], 'exp_avg'),
            'second': _states(module.architecture(), optimizers[-1], 'exp_avg_sq'),
            'owned': {id(p) for o in optimizers for group in o.param_groups for p in group['params']},
            'all': {id(p) for p in module.parameters()},
            'mixing': {label: cell.mixer.weights(cell.logits).detach() for label, cell in cells.items()},
            'pruned': {label: set(cell.mixer.pruned) for label, cell in cells.items()},
            'dropped': {label: set(cell.mixer.dropped) for label, cell in cells.items()},
            'statistics': {name: b.clone() for name, b in module.model.named_buffers()},
            'moment': module.clock.moment,
        }


def _states(parameters: dict[str, Tensor], optimizer: torch.optim.Optimizer, key: str) -> dict[str, Tensor]:
    """What an optimiser remembers, by name of the parameter."""
    states = {name: optimizer.state.get(p, {}).get(key) for name, p in parameters.items()}
    return {name: value.clone() for name, value in states.items() if value is not None}


def record(schedule: Schedule, **arguments: Any) -> tuple[Search, Record]:
    """The strategy after its search, and what was seen."""
    seen = Record()
    return run(schedule, callbacks=(seen,), **arguments), seen


def alike(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether all tensors are the same."""
    return one.keys() == other.keys() and all(value.equal(other[name]) for name, value in one.items())


def cosine(epochs: int, factor: float = 1.0) -> list[float]:
    """The evaluator's learning rate by epoch, from 0.025 times a factor to 0.001."""
    return [0.001 + (factor * 0.025 - 0.001) * (1 + math.cos(math.pi * e / epochs)) / 2 for e in range(epochs)]


@pytest.fixture(scope='module')
def deepened():
    """Three cells with four operations, then four with two: two fresh stages of three epochs."""
    return record(Progressive((2,), num_cells=(3, 4), epochs=3, warmup=1))


@pytest.fixture(scope='module')
def widened():
    """Operations see a quarter, then a half of the channels; weights are carried over, two epochs each."""
    members = {'transforms': (PartialChannels(4),)}
    return record(Progressive((3,), shares=(4, 2), is_fresh=False, epochs=2), width=8, members=members)


@pytest.fixture(scope='module')
def projected():
    """Two epochs of search, then 5 + 1 decisions with two epochs of tuning between them."""
    return record(Projected(epochs=2, tune_epochs=2, criterion='loss'))


def test_moments_are_those_of_the_time_line(deepened, widened, projected):
    for (strategy, seen), lengths in ((deepened, [3, 3]), (widened, [2, 2]), (projected, [2, 11])):
        module = strategy.oneshot_module
        assert module.stages.lengths == lengths and len(seen.begins) == len(seen.ends) == sum(lengths)
        for epoch, state in enumerate(seen.begins):
            assert state['moment'] == module.stages.moment(epoch, state['moment'].seed)


def test_every_parameter_has_an_optimiser_in_every_epoch(deepened, widened, projected):
    for _, seen in (deepened, widened, projected):
        assert all(state['owned'] == state['all'] for state in (*seen.begins, *seen.ends))


def test_depth_of_each_stage(deepened):
    strategy, seen = deepened
    assert [state['cells'] for state in seen.begins] == [3, 3, 3, 4, 4, 4]
    assert len(strategy.supernet.cells) == 4


def test_first_stage_is_of_the_schedules_depth_and_not_of_the_spaces():
    _, seen = record(Progressive((2,), num_cells=(4, 3), epochs=1))
    assert [state['cells'] for state in seen.begins] == [4, 3]


def test_first_stage_has_the_schedules_share_and_not_the_transforms(widened):
    _, seen = widened
    kernels = [
        {name: value.shape for name, value in state['weights'].items() if '.ops.' in name and value.dim() == 4}
        for state in seen.begins
    ]
    for name, shape in kernels[0].items():
        assert kernels[0][name] == kernels[1][name] and kernels[2][name] == kernels[3][name]
        assert kernels[2][name][0] == 2 * shape[0]


def test_pruned_candidates_have_exactly_no_weight(deepened, widened):
    for (_, seen), kept in ((deepened, 2), (widened, 3)):
        half = len(seen.begins) // 2
        assert not any(state['pruned'][label] for state in seen.begins[:half] for label in ('normal', 'reduce'))
        for state, label in ((state, label) for state in seen.begins[half:] for label in ('normal', 'reduce')):
            for row in range(5):
                gone = [column for column in range(4) if (row, column) in state['pruned'][label]]
                assert len(gone) == 4 - kept
                assert [column for column in range(4) if state['mixing'][label][row, column] == 0] == gone


def test_the_strongest_stay(deepened, widened):
    for (_, seen), kept in ((deepened, 2), (widened, 3)):
        half = len(seen.begins) // 2
        for label, weights in seen.ends[half - 1]['mixing'].items():
            best = {(row, int(k)) for row in range(5) for k in weights[row].topk(kept).indices}
            assert {(row, k) for row in range(5) for k in range(4)} - best == seen.begins[half]['pruned'][label]


def test_pruned_candidates_stay_pruned_and_are_not_in_the_sample(deepened):
    strategy, seen = deepened
    sample = next(strategy.list_models()).sample
    for label, pruned in seen.ends[-1]['pruned'].items():
        for target, k in ((2, 0), (2, 1), (3, 0), (3, 1)):
            row = sum(range(2, target)) + sample[f'{label}/input_{target}_{k}'][0]
            assert (row, OPERATIONS.index(sample[f'{label}/op_{target}_{k}'])) not in pruned


def test_fresh_stages_have_new_weights_and_new_optimisers(deepened):
    _, seen = deepened
    before, after = seen.ends[2], seen.begins[3]
    for name in before['weights'].keys() & after['weights'].keys():
        assert not before['weights'][name].equal(after['weights'][name]), name
    assert before['momentum'] and not after['momentum'] and before['first'] and not after['first']
    assert all(value.abs().max() < 0.01 for value in after['alphas'].values()), 'as at the start of a search'
    assert not any(before['alphas'][name].equal(value) for name, value in after['alphas'].items())


def test_warmup_of_each_stage_leaves_the_architecture(deepened):
    _, seen = deepened
    still = [alike(begin['alphas'], end['alphas']) for begin, end in zip(seen.begins, seen.ends)]
    assert still == [True, False, False, True, False, False]


def test_rates_of_fresh_stages_start_again(deepened):
    _, seen = deepened
    weights, alphas = zip(*(state['rates'] for state in seen.begins))
    assert weights == pytest.approx(cosine(3) * 2) and set(alphas) == {3e-4}


def test_rates_of_stages_that_go_on_fall_in_one_cosine(widened):
    _, seen = widened
    weights, alphas = zip(*(state['rates'] for state in seen.begins))
    assert weights == pytest.approx(cosine(4)) and set(alphas) == {3e-4}


def test_rates_of_projection(projected):
    _, seen = projected
    weights, alphas = zip(*(state['rates'] for state in seen.begins))
    assert weights == pytest.approx(cosine(2) + cosine(11, 0.1)) and set(alphas) == {3e-4}


def test_architecture_and_its_moments_are_carried_over(widened, projected):
    for (_, seen), start in ((widened, 2), (projected, 2)):
        before, after = seen.ends[start - 1], seen.begins[start]
        assert before['first'] and all(value.any() for value in before['first'].values())
        for key in ('alphas', 'first', 'second'):
            assert alike(before[key], after[key]), key


def test_weights_statistics_and_momentum_are_widened(widened):
    """The old channels come first, in all that a stage that goes on begins with."""
    _, seen = widened
    before, after = seen.ends[1], seen.begins[2]
    assert before['momentum'].keys() == after['momentum'].keys() and len(before['momentum']) > 10
    for key in ('weights', 'momentum', 'statistics'):
        grown = 0
        for name, old in before[key].items():
            new = after[key][name]
            grown += old.shape != new.shape
            if 'skip_connect' in name:
                continue  # Its halves are widened each for itself.
            assert new[tuple(slice(size) for size in old.shape)].equal(old), (key, name)
        assert grown >= 10


def test_a_channels_momentum_is_that_of_the_channel_that_it_copies(widened):
    _, seen = widened
    before, after = seen.ends[1], seen.begins[2]
    name = next(name for name, old in before['weights'].items() if after['weights'][name].shape[0] == 2 * len(old) > 2)
    old, new = before['weights'][name], after['weights'][name][:, : before['weights'][name].shape[1]]
    momentum = before['momentum'][name], after['momentum'][name][:, : old.shape[1]]
    for channel in range(len(new)):
        (source,) = (k for k in range(len(old)) if old[k].equal(new[channel]))
        assert momentum[1][channel].equal(momentum[0][source])


def test_projection_starts_with_the_weights_of_the_search_and_no_momentum(projected):
    _, seen = projected
    before, after = seen.ends[1], seen.begins[2]
    assert alike(before['weights'], after['weights']) and before['momentum'] and not after['momentum']
    assert after['cells'] == 3


def test_projection_decides_one_edge_or_node_of_each_type_after_every_tuning(projected):
    _, seen = projected
    for label in ('normal', 'reduce'):
        single = [sum(sum(row == edge for row, _ in s['pruned'][label]) == 3 for edge in range(5)) for s in seen.begins]
        assert single == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5]
        assert [len(state['dropped'][label]) for state in seen.begins] == [0] * 12 + [1]
        assert (seen.begins[-1]['mixing'][label] > 0).sum(1).tolist().count(1) == 4


def test_projection_ends_with_what_was_decided(projected):
    strategy, seen = projected
    sample = next(strategy.list_models()).sample
    for label in ('normal', 'reduce'):
        mixing = seen.ends[-1]['mixing'][label]
        chosen = {
            (sum(range(2, t)) + sample[f'{label}/input_{t}_{k}'][0], OPERATIONS.index(sample[f'{label}/op_{t}_{k}']))
            for t in (2, 3)
            for k in (0, 1)
        }
        assert chosen == {tuple(pair) for pair in (mixing == 1).nonzero().tolist()}
        assert 'none' not in {OPERATIONS[column] for _, column in chosen}


def test_a_tuning_epoch_moves_weights_and_architecture(projected):
    _, seen = projected
    for begin, end in zip(seen.begins[2:], seen.ends[2:]):
        assert not alike(begin['weights'], end['weights'])
        undecided = [label for label in begin['mixing'] if (begin['mixing'][label] > 0).sum(1).max() > 1]
        assert not undecided or not alike(begin['alphas'], end['alphas'])


@pytest.mark.parametrize(
    ('space', 'schedule'),
    [
        (lambda: NASBench201(width=4, num_cells=1), Projected(1, tune_epochs=1)),
        (lambda: NASBench201(width=4, num_cells=1), Progressive((0.4,), num_cells=(1, 2), epochs=1)),
        (lambda: s1(width=4, num_cells=3), Progressive((1,), epochs=1)),
    ],
    ids=['dense projected', 'dense deeper', 'restricted'],
)
def test_other_cells(space, schedule):
    """Cells that keep all edges, where none but 'none' may stay, and cells whose edges have candidates of their own."""
    given = space()
    strategy = run(schedule, space=given)
    cells = cells_by_label(strategy.supernet).values()
    left = [len(cell.layout.edges) * len(cell.layout.operations) - len(cell.mixer.pruned) for cell in cells]
    count = 2 if 0.4 in getattr(schedule, 'operations', ()) else 1
    assert left == [count * len(cell.layout.edges) for cell in cells]
    assert not any(cell.mixer.dropped for cell in cells)
    assert given.freeze(next(strategy.list_models()).sample)(torch.randn(2, 3, 16, 16)).shape == (2, 10)


def test_a_stop_rule_ends_the_search_with_the_sample_of_its_epoch():
    class All(Softmax):
        """Skips weigh less than all others at first, then more."""

        def weights(self, alpha, moment):
            shift = torch.zeros_like(alpha)
            shift[:, OPERATIONS.index('skip_connect')] = 5.0 if moment.epoch >= 1 else -5.0
            return torch.softmax(alpha + shift, -1)

    strategy, seen = record(SkipCount(SingleStage(4)), members={'relaxation': All()})
    sample = next(strategy.list_models()).sample
    assert len(seen.ends) == 2
    assert [sample[f'normal/op_{target}_{k}'] for target in (2, 3) for k in (0, 1)] == ['skip_connect'] * 4


def test_all_members_that_know_the_stage_hear_of_it():
    """Dropout and temperature start again with each stage."""
    found = []

    class Look(Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            dropouts = {m.p for m in module.model.modules() if isinstance(m, torch.nn.Dropout)}
            found.append((dropouts, module.relaxation.temperature(module.clock.moment)))

    members = {'transforms': (SkipDropout((0.2, 0.6)),), 'relaxation': GumbelSoftmax(4.0, 1.0)}
    run(Progressive((3,), epochs=2), callbacks=(Look(),), members=members, limit_train_batches=1)
    assert found == [
        ({0.2}, 4.0),
        ({0.2 * math.exp(-0.2)}, 1.0),
        ({0.6}, 4.0),
        ({0.6 * math.exp(-0.2)}, 1.0),
    ]


@pytest.mark.parametrize(
    'schedule', [Progressive((2,), num_cells=(3, 4), epochs=2), Projected(2, tune_epochs=1)], ids=['fresh', 'projected']
)
def test_the_adversary_goes_on(schedule):
    """Generator, discriminator, hyper-parameters and auxiliary model: state, rates, and that they still learn."""

    class Adversary(Callback):
        def __init__(self):
            self.ends, self.begins = [], []

        def _state(self, trainer):
            return copy.deepcopy([optimizer.state_dict() for optimizer in trainer.optimizers[1:-1]])

        def on_train_epoch_end(self, trainer, module):
            self.ends.append(self._state(trainer))

        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            if batch_idx == 0:
                self.begins.append(self._state(trainer))

    seen = Adversary()
    members = {'objective': WorstCase(every=2), 'hypergradient': Unrolled()}
    run(schedule, callbacks=(seen,), members=members, has_tester=True, limit_train_batches=2)
    assert len(seen.begins[0]) == 4 and len(seen.begins) >= 4
    for before, after in zip(seen.ends, seen.begins[1:]):
        assert_same(before, after)
    for before, after in zip(seen.begins, seen.ends):
        for one, other in zip(before, after):
            with pytest.raises(AssertionError):
                assert_same(one['state'], other['state'])


def assert_same(one: Any, other: Any) -> None:
    """Equal, tensors inside included."""
    if isinstance(one, Tensor):
        assert one.equal(other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for pair in zip(one, other):
            assert_same(*pair)
    else:
        assert one == other
