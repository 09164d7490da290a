"""What a search took, by its own files: its epochs, and the pre-training before them whoever made the files."""

import pytest

from nni_wcnas.compare.trial import Trial, write_trials
from nni_wcnas.files.record import unit
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.files.search_cost import search_cost
from nni_wcnas.page.report import write_report

BOTH = {'tester': 'g.pt', 'generator_seconds': 100.0, 'auxiliary': 'v.pt', 'auxiliary_seconds': 20.0}


def searched(folder, told):
    """A run of two epochs of 3.5 seconds, that has written this of its files."""
    run = RunDirectory(folder)
    run.write_settings({'search': {'epochs': 2}, **({} if told is None else {'pretrained': told})})
    run.write_history([{'epoch': 0}, {'epoch': 1, 'seconds': 1.0}, {'epoch': 2, 'seconds': 2.5}])
    return run


@pytest.mark.parametrize(('told', 'expected'), [
    (None, {'search_seconds': 3.5, 'pretraining_seconds': 0.0}),
    (BOTH, {'search_seconds': 123.5, 'pretraining_seconds': 120.0}),
    ({'auxiliary': 'v.pt', 'auxiliary_seconds': 20.0}, {'search_seconds': 23.5, 'pretraining_seconds': 20.0}),
    ({'tester': 'before.pt', 'auxiliary': 'before.pt'}, {'search_seconds': 3.5}),
    ({'tester': 'before.pt', 'auxiliary': 'v.pt', 'auxiliary_seconds': 20.0}, {'search_seconds': 3.5}),
])
def test_seconds(tmp_path, told, expected):
    """A file from before they were stored knows none, and then nothing is claimed."""
    assert search_cost(searched(tmp_path, told)) == expected


def test_where_they_are_shown(tmp_path):
    run = searched(tmp_path / 'run', BOTH)
    run.write_measures({'accuracy': 0.5, **search_cost(run)})
    assert search_cost(RunDirectory(tmp_path / 'run' / 'retraining')) == search_cost(run)
    assert unit('pretraining_seconds') == 's'
    for page in (write_report(run), write_trials(tmp_path / 'all.html', [Trial(run, 'x')], 'all')):
        text = page.read_text()
        assert 'Pre-training in it, s' in text and 'Search, s' in text and '>120' in text
