"""The page of an experiment: what was tuned, the trials in their order with links, their course, and the comparison."""

import re

import pytest
from test_comparison import CLEAR
from test_report import check

from nni_wcnas.compare import comparison_page
from nni_wcnas.compare.trial import Trial, trial_sections, write_trials
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.page.report import write_report

MEASURES = {
    'middle': {'error': 0.1, 'error_hard': 0.5, 'parameters': 2e6},
    'best': {'error': 0.2, 'error_hard': 0.3, 'parameters': 3e6},
    'unmeasured': None,
    'worst': {'error': 0.3, 'error_hard': 0.9, 'parameters': 1e6},
}


@pytest.fixture
def trials(tmp_path):
    """Two methods of two seeds each, of which one trial has a report."""
    found = []
    for place, (name, values) in enumerate(MEASURES.items()):
        run = RunDirectory(tmp_path / 'runs' / name)
        run.write_history([{'epoch': epoch, 'entropy': 1.0 - place * epoch / 10} for epoch in range(3)])
        if values:
            run.write_measures(values)
        method = ('ours <b>', 'theirs')[place % 2]
        found.append(Trial(run, method, {'method': {'_name': method}, 'seed': place // 2, 'width': 8}))
    write_report(found[0].run)
    return found


def test_trials_are_ranked_and_linked(trials, tmp_path):
    path = write_trials(tmp_path / 'runs' / 'report.html', trials, 'A & B', 'Experiment x')
    page = check(path)
    assert page.references == ['middle/report.html'] and (path.parent / 'middle' / 'report.html').exists()
    firsts = re.findall('<tr><td data-label="search">(?:<a [^>]*>)?([a-z]+)', path.read_text())
    assert firsts == ['best', 'middle', 'worst', 'unmeasured']
    assert re.findall('<strong>(.*?)</strong>', path.read_text()) == ['30.00 %', '10.00 %', '1 M']
    for words in ('A & B', 'Tuned: method (ours <b>, theirs); seed (0, 1); width (8).', 'ours <b>, seed 1'):
        assert words in page.text
    # A value that all trials have is told above, and needs no column.
    assert 'data-label="seed"' in path.read_text() and 'data-label="width"' not in path.read_text()


def test_every_trial_has_a_line(trials, tmp_path):
    html = write_trials(tmp_path / 'report.html', trials, 'x').read_text()
    (chart,) = re.findall('<figure><h3>Entropy of A</h3>.*?</figure>', html, re.DOTALL)
    assert chart.count('<polyline') == 4
    assert 'theirs, seed 1: 0.4 at 2' in chart


def test_the_comparison_follows_on_the_same_page(trials, tmp_path):
    html = comparison_page(CLEAR, 'digits, today', trials=trial_sections(tmp_path / 'x.html', trials),
                           subtitle='Experiment x: ')
    titles = re.findall('<h2>(.*?)</h2>', html)
    assert titles.index('Error on the test images') < titles.index('Trials') < titles.index('Significance')
    assert 'Experiment x: 2 methods, 6 networks' in html and 'ours &lt;b&gt; wins' in html


def test_a_trial_without_proposal_says_so(tmp_path):
    text = check(write_trials(tmp_path / 'x.html', [Trial(RunDirectory(tmp_path / 'run'), 'the settings')], 'x')).text
    assert 'Nothing was tuned.' in text and 'the settings' in text
