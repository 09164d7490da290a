"""At which count, in which cells and from which epoch the search ends."""

import pytest
import torch
from fake import OPERATIONS, FakeSupernet, drive

from nni_wcnas.contracts import CellLayout, Schedule
from nni_wcnas.schedule import Progressive, Projected, SingleStage, SkipCount

LAYOUTS = {
    'normal': CellLayout(OPERATIONS, num_nodes=2),
    'reduce': CellLayout(OPERATIONS, num_nodes=2, label='reduce', is_reduction=True),
}


def with_skips(count: int) -> torch.Tensor:
    """Logits of a cell of four kept edges, so many of them skips."""
    logits = torch.zeros(5, 4)
    logits[:, 3] = 1.0
    logits[:4, 3] += 2.0  # The last edge is not kept.
    logits[:count, 1] = 4.0
    return logits


def stops(schedule: Schedule, counts: list[int], label: str = 'normal') -> tuple[int, dict[str, int] | None]:
    """Epochs and sample when a cell has so many skips after each epoch."""
    supernet = FakeSupernet(LAYOUTS, logits={name: with_skips(0) for name in LAYOUTS})

    def look(moment):
        supernet.logits[label] = with_skips(counts[supernet.epoch])

    return drive(schedule, supernet, len(counts), look)


@pytest.mark.parametrize('limit', [1, 2, 3, 4])
def test_at_the_limit_and_not_below(limit):
    assert stops(SkipCount(limit=limit), [0, limit - 1, limit, limit]) == (3, {'epoch': 2})
    assert stops(SkipCount(limit=limit), [limit - 1] * 4) == (4, None)


def test_reduction_cells_do_not_count():
    assert stops(SkipCount(), [4] * 3, label='reduce') == (3, None)


def test_what_the_selection_would_not_keep_does_not_count():
    """The skip of an edge that is not kept."""
    logits = with_skips(1)
    logits[4] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    supernet = FakeSupernet(LAYOUTS, logits={'normal': logits, 'reduce': with_skips(0)})
    assert drive(SkipCount(), supernet, 3) == (3, None)


def test_no_rule_during_the_warmup_of_any_stage():
    assert stops(SkipCount(SingleStage(warmup=2)), [4] * 5) == (3, {'epoch': 2})
    schedule = SkipCount(Progressive((3,), epochs=3, warmup=2))
    assert stops(schedule, [4, 4, 0, 4, 4, 4]) == (6, {'epoch': 5})


def test_the_inner_schedule_goes_on_as_it_would():
    layouts = {'normal': CellLayout(OPERATIONS, num_nodes=2)}
    outcomes = []
    for schedule in (Projected(tune_epochs=2), SkipCount(Projected(tune_epochs=2), limit=9)):
        supernet = FakeSupernet(layouts, {'normal': torch.rand(5, 4, generator=torch.Generator().manual_seed(0))})
        epochs, sample = drive(schedule, supernet)
        outcomes.append((epochs, sample, supernet.pruned, supernet.dropped, supernet.calls, supernet.memory))
    assert outcomes[0] == outcomes[1]
    inner = Progressive((2,))
    scores = FakeSupernet(LAYOUTS, logits={name: with_skips(2) for name in LAYOUTS}).scores()['normal']
    assert SkipCount(inner).pruned(1, scores) == inner.pruned(1, scores) != set()
    assert SkipCount(inner).stages(()) == inner.stages(())


def test_the_inner_rule_comes_first():
    schedule = SkipCount(SkipCount(limit=3), limit=2)
    assert stops(schedule, [0, 3, 3]) == (2, {'epoch': 1}) and stops(schedule, [0, 2, 3]) == (2, {'epoch': 1})
    assert stops(SkipCount(SkipCount(limit=2), limit=3), [0, 2, 3]) == (2, {'epoch': 1})


def test_what_it_needs():
    assert SkipCount().needs_cells and not SkipCount().needs_second_derivatives
    assert eval(repr(SkipCount(limit=4))) == SkipCount(limit=4)


@pytest.mark.parametrize('limit', [0, -2])
def test_refused(limit):
    with pytest.raises(ValueError, match=f'limit must be at least 1 skip connection, not {limit}'):
        SkipCount(limit=limit)
