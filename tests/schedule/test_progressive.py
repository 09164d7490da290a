"""What stays on an edge, how many stages there are, and what is refused."""

import math
from collections.abc import Iterable

import pytest
import torch
from fake import OPERATIONS, FakeSupernet, drive

from nni_wcnas.contracts import CellLayout, CellScores, Stage
from nni_wcnas.schedule import Progressive

EIGHT = ('none', *'abcdefg')


Row = list[float]


def scores(
    rows: list[Row],
    operations: tuple[str, ...] = OPERATIONS,
    gone: Iterable[tuple[int, int]] = (),
    hidden: bool = False,
    **layout: bool,
) -> CellScores:
    """One node with two edges, whose logits are given."""
    logits = torch.tensor(rows, dtype=torch.float64)
    for row, column in gone:
        logits[row, column] = -torch.inf
    strengths = logits.softmax(-1)
    assert logits.shape[1] == len(operations) + hidden
    return CellScores(logits, strengths, CellLayout(operations, 2, 1, **layout))


def stays(schedule: Progressive, stage: int, given: CellScores) -> list[set[str]]:
    """Names that stay on each edge."""
    gone, names = schedule.pruned(stage, given), given.layout.operations
    return [{name for column, name in enumerate(names) if (row, column) not in gone} for row in range(2)]


def test_pdarts_keeps_five_then_three_of_eight():
    rows = torch.randn(2, 8, generator=torch.Generator().manual_seed(0)).tolist()
    given, schedule = scores(rows, EIGHT), Progressive((5, 3), num_cells=(5, 11, 17))
    for stage, count in ((1, 5), (2, 3)):
        best = [{name for _, name in sorted(zip(row, EIGHT), reverse=True)[:count]} for row in rows]
        assert stays(schedule, stage, given) == best
        assert len(schedule.pruned(stage, given)) == 2 * (8 - count)


def test_pdarts_on_a_whole_search_prunes_what_is_left():
    layouts = {label: CellLayout(EIGHT, label=label) for label in ('normal', 'reduce')}
    generator = torch.Generator().manual_seed(0)
    logits = {label: torch.randn(14, 8, generator=generator) for label in layouts}
    supernet, left = FakeSupernet(layouts, logits=logits), []

    def look(moment):
        left.append(8 - len(supernet.pruned['normal']) / 14)

    drive(Progressive((5, 3), epochs=2), supernet, look=look)
    assert left == [8, 8, 5, 5, 3, 3]
    for label in layouts:
        kept = {(row, column) for row in range(14) for column in range(8)} - supernet.pruned[label]
        assert kept == {(row, int(k)) for row in range(14) for k in logits[label][row].topk(3).indices}


def test_ties_keep_the_earlier_operation():
    assert stays(Progressive((2,)), 1, scores([[0, 0, 0, 0], [0, 1, 0, 0]])) == [
        {'none', 'skip_connect'},
        {'none', 'skip_connect'},
    ]
    assert stays(Progressive((2,)), 1, scores([[0, 0, 0, 3], [-1, 0, 2, 0]])) == [
        {'none', 'conv'},
        {'pool', 'skip_connect'},
    ]


def test_weights_and_not_logits_decide():
    """A relaxation may rank candidates otherwise than by its parameters."""
    given = scores([[0, 1, 2, 3], [0, 1, 2, 3]])
    given = CellScores(given.logits, given.probabilities.flip(1), given.layout)
    assert stays(Progressive((2,)), 1, given) == [{'none', 'skip_connect'}] * 2


def test_an_edge_that_has_fewer_keeps_them():
    """Restricted rows, as in the space S1, and rows that lost candidates before."""
    gone = [(0, 0), (0, 1), (0, 2), (1, 3)]
    assert stays(Progressive((2,)), 1, scores([[9, 9, 9, 0], [1, 2, 3, 9]], gone=gone)) == [
        {'conv'},
        {'pool', 'skip_connect'},
    ]
    assert stays(Progressive((3,)), 1, scores([[9, 9, 9, 0], [1, 2, 3, 9]], gone=gone)) == [
        {'conv'},
        {'none', 'skip_connect', 'pool'},
    ]


def test_what_was_pruned_stays_pruned():
    gone = {(0, 3), (1, 1)}
    assert gone <= Progressive((3,)).pruned(1, scores([[0, 0, 0, 9], [0, 9, 0, 0]], gone=gone))


@pytest.mark.parametrize(
    ('share', 'kept'), [(0.5, 4), (0.51, 5), (0.4, 4), (0.125, 1), (0.01, 1), (0.99, 8), (0.375, 3)]
)
def test_shares_of_the_candidates_are_rounded_up(share, kept):
    given = scores(torch.randn(2, 8, generator=torch.Generator().manual_seed(1)).tolist(), EIGHT)
    assert [len(names) for names in stays(Progressive((share,)), 1, given)] == [kept, kept]


def test_shares_count_what_the_space_has():
    """Two halves in a row are not a quarter: the second finds as many as it keeps."""
    given = scores(torch.randn(2, 8, generator=torch.Generator().manual_seed(1)).tolist(), EIGHT)
    schedule = Progressive((0.5, 0.5))
    again = scores(given.logits.tolist(), EIGHT, gone=schedule.pruned(1, given))
    assert schedule.pruned(2, again) == schedule.pruned(1, given)


def test_none_is_an_operation_until_it_would_be_alone():
    rows = [[9, 1, 2, 3], [9, 3, 2, 1]]
    assert stays(Progressive((2,)), 1, scores(rows)) == [{'none', 'conv'}, {'none', 'skip_connect'}]
    assert stays(Progressive((1,)), 1, scores(rows)) == [{'conv'}, {'skip_connect'}]
    assert stays(Progressive((1,)), 1, scores(rows, keeps_all_edges=True)) == [{'none'}, {'none'}]
    alone = scores(rows, gone=[(0, 1), (0, 2), (0, 3)])
    assert stays(Progressive((1,)), 1, alone) == [{'none'}, {'skip_connect'}]


def test_hidden_none_is_no_candidate():
    given = scores([[0, 1, 2, 9], [2, 1, 0, 9]], ('a', 'b', 'c'), hidden=True)
    assert Progressive((2,)).pruned(1, given) == {(0, 0), (1, 2)}


def test_stages():
    assert Progressive((5, 3), num_cells=(5, 11, 17), epochs=25, warmup=10).stages(()) == (
        Stage(25, 10, 5),
        Stage(25, 10, 11, is_fresh=True),
        Stage(25, 10, 17, is_fresh=True),
    )
    assert Progressive((4,), shares=(6, 4), is_fresh=False).stages(()) == (
        Stage(None, share=6),
        Stage(None, share=4),
    )
    assert Progressive().needs_cells and not Progressive().needs_second_derivatives


def test_lists_of_a_settings_file_are_tuples():
    schedule = Progressive([5, 3], num_cells=[5, 11, 17])
    assert schedule == Progressive((5, 3), num_cells=(5, 11, 17)) == eval(repr(schedule))
    assert hash(schedule) == hash(Progressive((5, 3), num_cells=(5, 11, 17)))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'operations': (5, 3), 'num_cells': (5, 11)}, 'num_cells=\\[5, 11\\] has 2 numbers, .* 3 as num_c'),
        ({'operations': (4,), 'shares': (6,)}, 'shares=\\[6\\] has 1 numbers, and operations 1; .* 2 as shares'),
        ({'operations': ()}, 'operations must say how many stay .*, not \\(\\)'),
        ({'operations': (5, 0)}, r'operations must be positive, not \[5, 0\]'),
        ({'operations': (4,), 'num_cells': (3, 0)}, r'num_cells must be positive, not \[3, 0\]'),
        ({'operations': (4,), 'shares': (-1, 4)}, r'shares must be positive, not \[-1, 4\]'),
        ({'operations': (4.5,)}, 'operations must be whole numbers, or shares below 1'),
        ({'operations': (3, 5)}, r'operations must not rise from stage to stage, not \[3, 5\]'),
        ({'operations': (4,), 'num_cells': (3, 5), 'is_fresh': False}, 'new cells have no weights .* is_fresh=True'),
        ({'operations': (4,), 'shares': (2, 4), 'is_fresh': False}, r'shares=\[2, 4\] rises.*is_fresh'),
        ({'epochs': 0}, 'epochs must be at least 1, not 0'),
        ({'warmup': -1}, 'warmup must be 0 or more .* not -1'),
        ({'epochs': 3, 'warmup': 3}, 'leave some of the 3 epochs of a stage to search in, not 3'),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Progressive(**arguments)


def test_equal_depths_may_be_carried_over():
    assert Progressive((4,), num_cells=(5, 5), is_fresh=False).stages(())[1].num_cells == 5
    assert Progressive((math.nextafter(1, 0),)).operations[0] < 1
