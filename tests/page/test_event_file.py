"""TensorBoard reads what metrics.csv holds, each epoch once, wherever a search was interrupted."""

import pytest
import torch
from event_reading import read_events, scalars_of

from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.page.event_file import EventFile
from nni_wcnas.page.run_pictures import write_generated

ROWS = [{'epoch': epoch, 'fid': 1 / (epoch + 3), **({'loss_A': 2.0 - epoch} if epoch else {})} for epoch in range(5)]


def write(run, rows, events):
    for row in rows:
        write_generated(run, row['epoch'], torch.zeros(4, 3, 8, 8), torch.tensor([0, 0, 1, 1]))
        events.add(row)


def test_scalars_and_grids_by_epoch(tmp_path):
    run = RunDirectory(tmp_path)
    events = EventFile(run)
    events.begin([])
    write(run, ROWS[:2], events)
    assert read_events(run.tensorboard) == (scalars_of(ROWS[:2]), {'generated': [0, 1]}), 'while the search goes on'
    write(run, ROWS[2:], events)
    events.close()
    assert read_events(run.tensorboard) == (scalars_of(ROWS), {'generated': [0, 1, 2, 3, 4]})


def test_a_killed_search_goes_on_without_gaps_or_repetitions(tmp_path):
    run = RunDirectory(tmp_path)
    killed = EventFile(run)
    killed.begin([])
    write(run, [*ROWS[:3], {'epoch': 3, 'fid': 99.0}], killed)  # Never closed; the last epoch got no checkpoint.
    (run.tensorboard / 'notes.txt').touch()
    resumed = EventFile(run)
    resumed.begin(ROWS[:3])
    assert read_events(run.tensorboard) == (scalars_of(ROWS[:3]), {'generated': [0, 1, 2]})
    write(run, ROWS[3:], resumed)
    resumed.close()
    assert read_events(run.tensorboard) == (scalars_of(ROWS), {'generated': [0, 1, 2, 3, 4]})
    assert len(list(run.tensorboard.iterdir())) == 2, 'what is not ours stays'


def test_nothing_is_written_before_it_begins(tmp_path):
    events = EventFile(RunDirectory(tmp_path))
    events.close()
    with pytest.raises(RuntimeError, match='call begin'):
        events.add({'epoch': 0})
    assert not list(tmp_path.iterdir())
