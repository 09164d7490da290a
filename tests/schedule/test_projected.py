"""Which operation and which inputs are kept, after how many passes, in which epochs."""

import itertools
from collections.abc import Iterable

import pytest
import torch
from fake import OPERATIONS, FakeSupernet, drive
from torch import Tensor

from nni_wcnas.contracts import CellLayout, Stage
from nni_wcnas.schedule import Projected

DARTS = {label: CellLayout((*OPERATIONS, 'e', 'f', 'g', 'h'), label=label) for label in ('normal', 'reduce')}
SMALL = {'normal': CellLayout(OPERATIONS, num_nodes=3)}
DENSE = {'cell': CellLayout(OPERATIONS, 1, 3, 3, keeps_all_edges=True)}


def worth(layouts: dict[str, CellLayout], seed: int) -> dict[str, Tensor]:
    """Of each candidate, at random."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {label: (len(layout.edges), len(layout.operations)) for label, layout in layouts.items()}
    return {label: torch.rand(size, generator=generator, dtype=torch.float64) for label, size in sizes.items()}


def best(table: Tensor, columns: Iterable[int]) -> list[int]:
    """The most valuable of some columns in each row."""
    columns = list(columns)
    return [columns[int(row[columns].argmax())] for row in table]


@pytest.mark.parametrize('criterion', ['accuracy', 'loss'])
@pytest.mark.parametrize('layouts', [DARTS, SMALL], ids=['darts', 'small'])
def test_the_best_operation_and_the_best_two_inputs_are_found(layouts, criterion):
    """Worth adds up, so that the best cell is the best operation of each edge, then the best two edges of each node;
    by accuracy it is another than by loss."""
    tables = {'accuracy': worth(layouts, 1), 'loss': worth(layouts, 2)}
    supernet = FakeSupernet(layouts, **tables, logits=worth(layouts, 3))
    drive(Projected(tune_epochs=1, criterion=criterion), supernet)
    for label, layout in layouts.items():
        table = tables[criterion][label]
        kept = best(table, range(1, len(layout.operations)))
        every = set(itertools.product(range(len(layout.edges)), range(len(layout.operations))))
        assert supernet.pruned[label] == every - set(enumerate(kept))
        left = set()
        for node in range(layout.num_nodes):
            edges = sorted(layout.edges_into(node), key=lambda edge: -table[edge, kept[edge]])
            left |= set(edges[:2])
        assert supernet.dropped[label] == set(range(len(layout.edges))) - left


def test_the_two_criteria_differ():
    chosen = []
    for criterion in ('accuracy', 'loss'):
        supernet = FakeSupernet(SMALL, worth(SMALL, 1), worth(SMALL, 2))
        drive(Projected(tune_epochs=1, criterion=criterion), supernet)
        chosen.append((supernet.pruned, supernet.dropped))
    assert chosen[0] != chosen[1]


def test_inputs_go_one_after_the_other():
    """Two edges that stand in for each other: neither is missed alone, but one of them must stay.

    The first of the three costs 0.5; each of the twins costs nothing while the other is there, and 1 without it.
    """

    class Twins(FakeSupernet):
        def validate(self, label, without):
            super().validate(label, without)
            gone = {row for row, _ in without} - {row for row, column in without if (row, 0) not in without}
            accuracy = 2.0 - 0.5 * (2 in gone) - 1.0 * ({3, 4} <= gone)
            return -accuracy, accuracy

    layouts = {'normal': CellLayout(OPERATIONS, 2, 2, 1)}
    supernet = Twins(layouts)
    drive(Projected(tune_epochs=1), supernet)
    assert supernet.dropped['normal'] & {2, 3, 4} == {2, 3}
    asked = [sorted({row for row, _ in without}) for _, without in supernet.calls]
    assert [rows for rows in asked if set(rows) <= {2, 3, 4}][-5:] == [[2], [3], [4], [2, 3], [3, 4]]


def test_cost_on_the_darts_space_is_that_of_the_docstring():
    moments = []
    supernet = FakeSupernet(DARTS)
    schedule = Projected(epochs=50)
    epochs, sample = drive(schedule, supernet, look=lambda moment: moments.append((moment, len(supernet.calls))))
    assert epochs == 50 + 81 and sample is None and len(supernet.calls) == 240
    counts = [0, *(count for _, count in moments)]
    decisions = [moment for (moment, after), before in zip(moments, counts) if after > before]
    assert len(decisions) == 17
    assert [(moment.stage, moment.epoch) for moment in decisions] == [(1, 5 * k) for k in range(17)]
    labels = [label for label, _ in supernet.calls]
    assert labels.count('normal') == labels.count('reduce') == 120


@pytest.mark.parametrize(('tune_epochs', 'epochs'), [(1, 17), (3, 49), (5, 81)])
def test_tuning_goes_on_after_all_decisions_but_the_last(tune_epochs, epochs):
    schedule = Projected(7, 2, tune_epochs, learning_rate_factor=0.3)
    assert schedule.stages(list(DARTS.values())) == (Stage(7, 2), Stage(epochs, learning_rate_factor=0.3))


def test_one_decision_at_a_time_the_operations_first():
    undecided = []
    supernet = FakeSupernet(SMALL)

    def look(moment):
        if moment.stage:
            one_left = sum(sum(row == edge for row, _ in supernet.pruned['normal']) == 3 for edge in range(9))
            undecided.append((9 - one_left, len(supernet.dropped['normal'])))

    drive(Projected(tune_epochs=1), supernet, look=look)
    assert undecided == [*((edge, 0) for edge in range(8, -1, -1)), undecided[9], (0, 3)]
    assert undecided[9] in ((0, 1), (0, 2)), 'a node of three edges loses one, a node of four two'


def test_edges_and_nodes_are_drawn():
    orders = []
    for seed in range(4):
        supernet = FakeSupernet(SMALL, seed=seed)
        drive(Projected(tune_epochs=1), supernet)
        rows = [next(iter(without))[0] for _, without in supernet.calls if len(without) == 1]
        orders.append(tuple(dict.fromkeys(rows)))
    assert all(sorted(order) == list(range(9)) for order in orders) and len(set(orders)) > 1


def test_ties_keep_the_earlier_operation_and_remove_the_earlier_input():
    supernet = FakeSupernet(SMALL)
    drive(Projected(tune_epochs=1), supernet)
    assert {column for _, column in supernet.pruned['normal']} == {0, 2, 3}
    assert supernet.dropped['normal'] == {2, 5, 6}


def test_decided_edges_stay_decided_while_others_are_judged():
    """What was pruned is not asked for again, in any pass over single candidates."""
    supernet = FakeSupernet(SMALL, worth(SMALL, 1))
    drive(Projected(tune_epochs=2), supernet)
    single = [next(iter(without)) for _, without in supernet.calls if len(without) == 1]
    assert len(single) == len(set(single)) == 9 * 3


def test_candidates_that_are_gone_are_not_judged():
    """Restricted edges: with one candidate there is nothing to decide, and no pass."""
    supernet = FakeSupernet(SMALL, worth(SMALL, 1))
    supernet.prune('normal', [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 3)])
    drive(Projected(tune_epochs=1), supernet)
    asked = [next(iter(without)) for _, without in supernet.calls if len(without) == 1]
    assert {column for row, column in asked if row == 2} == {1, 2}
    assert not [row for row, _ in asked if row in (0, 1)], "the second of them has only 'none' beside its last"
    assert all((row, 0) in supernet.pruned['normal'] for row in range(9))


def test_a_cell_that_keeps_all_edges_decides_them_alone_with_none_among_the_choices():
    table = worth(DENSE, 1)
    table['cell'][2, 0] = 2.0
    supernet, schedule = FakeSupernet(DENSE, table), Projected(epochs=1, tune_epochs=5)
    epochs, _ = drive(schedule, supernet)
    assert epochs == 1 + 26 and len(supernet.calls) == 6 * 4 and not supernet.dropped['cell']
    kept = set(itertools.product(range(6), range(4))) - supernet.pruned['cell']
    assert kept == set(enumerate(best(table['cell'], range(4)))) and (2, 0) in kept


def test_types_of_cells_of_unlike_size_end_each_in_its_time():
    layouts = {'small': CellLayout(OPERATIONS, num_nodes=1), 'large': CellLayout(OPERATIONS, num_nodes=2)}
    supernet = FakeSupernet(layouts, worth(layouts, 1))
    epochs, _ = drive(Projected(epochs=1, tune_epochs=1), supernet)
    assert epochs == 1 + 6
    assert [len(supernet.pruned[label]) for label in layouts] == [2 * 3, 5 * 3]
    assert len(supernet.dropped['large']) == 1 and not supernet.dropped['small']


def test_memory_is_plain_and_holds_what_is_undecided():
    supernet, seen = FakeSupernet(SMALL), []

    def look(moment):
        memory = supernet.memory.get('normal', {})
        seen.append({key: list(value) for key, value in memory.items()})

    drive(Projected(epochs=1, tune_epochs=1), supernet, look=look)
    assert seen[0] == {}
    assert [len(memory['edges']) for memory in seen[1:]] == [8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]
    assert sorted(seen[9]['nodes']) == [1, 2] and supernet.memory == {'normal': {'edges': [], 'nodes': []}}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'epochs': 0}, '^epochs must be at least 1, not 0'),
        ({'tune_epochs': 0}, 'tune_epochs must be at least 1, not 0'),
        ({'warmup': -1}, 'warmup must be 0 or more .* not -1'),
        ({'epochs': 3, 'warmup': 3}, 'leave some of the 3 epochs to search in, not 3'),
        ({'criterion': 'error'}, "criterion must be 'accuracy' or 'loss', not 'error'"),
        ({'learning_rate_factor': 0.0}, 'learning_rate_factor must be positive and finite, not 0.0'),
        ({'learning_rate_factor': float('inf')}, 'learning_rate_factor must be positive and finite, not inf'),
        ({'learning_rate_factor': float('nan')}, 'learning_rate_factor must be positive and finite, not nan'),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Projected(**arguments)
