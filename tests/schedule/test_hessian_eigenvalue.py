"""When the rule of RobustDARTS stops, and which epoch it returns."""

import io

import pytest
import torch
from fake import OPERATIONS, FakeSupernet, drive

from nni_wcnas.contracts import CellLayout, Moment, Schedule
from nni_wcnas.schedule import HessianEigenvalue, Progressive, SingleStage, SkipCount

LAYOUTS = {'normal': CellLayout(OPERATIONS, num_nodes=2)}


Outcome = tuple[int, dict[str, int] | None]


def stops(schedule: Schedule, eigenvalues: list[float], epochs: int = 50) -> tuple[Outcome, FakeSupernet]:
    """Epochs and sample when these are measured."""
    supernet = FakeSupernet(LAYOUTS, eigenvalues=eigenvalues)
    return drive(schedule, supernet, epochs), supernet


def expected(eigenvalues: list[float], window: int, factor: float, start: int, every: int) -> Outcome | None:
    """Epoch of the stop and of the sample, by the formula of the docstring written out."""

    def mean(last: int) -> float:
        return sum(eigenvalues[max(0, last - window + 1) : last + 1]) / (last + 1 - max(0, last - window + 1))

    for now in range(len(eigenvalues)):
        before, returned = now - window + 1, every * now - every * 3 * (window - 1) // 2
        if before + 1 >= 3 and returned >= start and mean(now) / mean(before) > factor:
            return every * now + 1, {'epoch': returned}
    return None


def test_first_check_is_after_epoch_22_and_returns_epoch_10():
    (epochs, sample), supernet = stops(HessianEigenvalue(), [float(2**k) for k in range(25)])
    assert (epochs, sample) == (23, {'epoch': 10}) and len(supernet.memory['eigenvalues']) == 12


@pytest.mark.parametrize(
    ('window', 'factor', 'start', 'every'), [(5, 1.3, 10, 2), (3, 1.1, 0, 1), (7, 1.2, 4, 1), (5, 0.9, 0, 3)]
)
def test_against_the_formula(window, factor, start, every):
    found = 0
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        values = (torch.rand(60 // every, generator=generator) + 0.5).cumsum(0).sqrt().tolist()
        wanted = expected(values, window, factor, start, every)
        (epochs, sample), _ = stops(HessianEigenvalue(SingleStage(), window, factor, start, every), values, 60)
        assert (epochs, sample) == (wanted or (60, None))
        found += wanted is not None
    assert found


def test_growth_at_the_factor_does_not_stop_and_above_it_does():
    """Means of 1 and, two measurements later, of exactly 2."""
    schedule = HessianEigenvalue(window=3, factor=2.0, start=0, every=1)
    assert stops(schedule, [1.0, 1.0, 1.0, 2.0, 3.0], 5)[0] == (5, None)
    assert stops(schedule, [1.0, 1.0, 1.0, 2.0, 3.1], 5)[0] == (5, {'epoch': 1})


@pytest.mark.parametrize(('start', 'outcome'), [(0, (5, {'epoch': 1})), (1, (5, {'epoch': 1})), (2, (6, {'epoch': 2}))])
def test_nothing_before_start_is_returned(start, outcome):
    schedule = HessianEigenvalue(window=3, factor=1.1, start=start, every=1)
    assert stops(schedule, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0], 6)[0] == outcome


def test_an_average_that_is_not_positive_stops_nothing():
    schedule = HessianEigenvalue(window=3, factor=1.1, start=0, every=1)
    assert stops(schedule, [-1.0, 0.0, 1.0, 9.0, 99.0], 5)[0] == (5, None)
    assert stops(schedule, [-9.0, -9.0, -9.0, -1.0, -1.0], 5)[0] == (5, None)


def test_measured_every_few_epochs_and_not_in_the_warmup():
    _, supernet = stops(HessianEigenvalue(SingleStage(warmup=3), every=2, start=0), [1.0] * 4, 10)
    assert supernet.memory['samples'] == [{'epoch': epoch} for epoch in (4, 6, 8)]


def test_each_stage_measures_anew():
    """The scale of a Hessian is that of its supernet."""
    schedule = HessianEigenvalue(Progressive((3,), epochs=4), window=3, factor=1.1, start=0, every=1)
    outcome, supernet = stops(schedule, [1.0] * 4 + [100.0] * 4)
    assert outcome == (8, None)
    assert supernet.memory == {
        'stage': 1,
        'eigenvalues': [100.0] * 4,
        'samples': [{'epoch': epoch} for epoch in range(4, 8)],
    }


def test_memory_is_plain_values():
    """A checkpoint that is loaded without executing code holds it."""
    _, supernet = stops(HessianEigenvalue(every=1), [1.0] * 3, 3)
    file = io.BytesIO()
    torch.save(supernet.memory, file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == supernet.memory


def test_a_search_that_goes_on_from_its_memory_stops_alike():
    schedule = HessianEigenvalue(window=3, factor=1.1, start=0, every=1)
    values = [1.0, 1.0, 1.0, 1.1, 1.2, 1.5]
    (epochs, sample), _ = stops(schedule, values, 6)
    for cut in range(1, epochs):
        first = FakeSupernet(LAYOUTS, eigenvalues=values[:cut])
        drive(schedule, first, cut)
        second = FakeSupernet(LAYOUTS, eigenvalues=values[cut:])
        second.memory = first.memory
        found = None
        for epoch in range(cut, epochs):
            second.epoch = epoch
            found = schedule.end_epoch(second, Moment(epoch, 6))
        assert found == sample


def test_what_it_needs():
    assert HessianEigenvalue().needs_second_derivatives and not HessianEigenvalue().needs_cells
    assert HessianEigenvalue(Progressive()).needs_cells
    assert SkipCount(HessianEigenvalue()).needs_second_derivatives


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'window': 1}, 'window must be an odd number of measurements, at least 3, not 1'),
        ({'window': 4}, 'window must be an odd number of measurements, at least 3, not 4'),
        ({'factor': 0.0}, 'factor must be positive and finite, not 0.0'),
        ({'factor': float('inf')}, 'factor must be positive and finite, not inf'),
        ({'start': -1}, 'start must be 0 or a later epoch, not -1'),
        ({'every': 0}, 'every must be at least 1 epoch, not 0'),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HessianEigenvalue(**arguments)
