"""Networks are told apart by the seeds of search and retraining, and the page says which of them varies."""

import json
from dataclasses import replace

import pytest
from test_comparison import CLEAR, OURS, THEIRS, cells, page, record

from nni_wcnas.cli.compare import compare_runs
from nni_wcnas.compare import group_records
from nni_wcnas.compare.seeds import what_varies
from nni_wcnas.files.record import describe, load_record, save_record
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.spaces import published

FOUND = {'seed': 4, 'settings': {'method': {'preset': 'wcnas'}}}


def test_one_search_retrained_with_two_seeds(tmp_path):
    files = []
    for seed in range(2):
        run = RunDirectory(tmp_path / f'run-{seed}')
        run.write_architecture(replace(published.load('darts_v2'), provenance=FOUND))
        run.write_settings({'data': {'name': 'digits'}, 'retrain': {'seed': seed}})
        described = describe(run)
        assert (described.method, described.seed, described.retraining_seed) == ('wcnas', 4, seed)
        files.append(str(save_record(described, tmp_path / f'{seed}.json')))
    (method,) = group_records([load_record(tmp_path / f'{seed}.json') for seed in range(2)])
    assert what_varies(method.records) == '1 search retrained with 2 seeds'
    compare_runs(files, tmp_path / 'out')
    names = sorted(path.name for path in (tmp_path / 'out' / 'records').iterdir())
    assert names == ['wcnas-seed-4-retraining-0.json', 'wcnas-seed-4-retraining-1.json']


def test_a_trial_has_one_seed_for_both(tmp_path):
    run = RunDirectory(tmp_path / 'run')
    run.write_architecture(replace(published.load('darts_v2'), provenance=FOUND))
    run.write_settings({'seed': 4, 'data': {'name': 'digits'}, 'retrain': {'epochs': 1}})
    assert (describe(run).seed, describe(run).retraining_seed) == (4, 4)


@pytest.mark.parametrize(('settings', 'seeds'), [
    ({'search': FOUND, 'retrain': {'seed': 2}}, (5, 2)),
    ({'search': FOUND, 'retrain': {'epochs': 1}}, (5, 5)),
    ({'search': {'method': 'PC-DARTS'}, 'retrain': {'seed': 5}}, (None, 5)),
])
def test_seeds_of_earlier_records(settings, seeds, tmp_path):
    path = save_record(replace(record('ours', 5, 0.1), settings=settings), tmp_path / 'record.json')
    document = json.loads(path.read_text())
    del document['retraining_seed']
    path.write_text(json.dumps(document))
    found = load_record(path)
    assert (found.seed, found.retraining_seed) == seeds


def crossed(method, errors, seeds):
    return [replace(record(method, 0, error), seed=search, retraining_seed=retraining)
            for error, (search, retraining) in zip(errors, seeds, strict=True)]


@pytest.mark.parametrize(('theirs', 'test'), [
    ([(0, 2), (0, 0), (0, 1)], 'paired t'), ([(0, 0), (1, 0), (2, 0)], "Welch's t"),
    ([(1, 0), (1, 1), (1, 2)], "Welch's t"),
])
def test_pairs_agree_in_both_seeds(theirs, test):
    ours = crossed('ours', OURS, [(0, 0), (0, 1), (0, 2)])
    assert cells([*ours, *crossed('theirs', THEIRS, theirs)])[0][4] == test


@pytest.mark.parametrize(('seeds', 'text'), [
    ([(0, 0)], '1 search, one retraining'), ([(0, 0), (1, 1)], '2 searches, one retraining each'),
    ([(0, 0), (0, 1), (1, 0), (1, 1)], '2 searches, 2 retrainings each'),
    ([(0, 0), (0, 1), (1, 0)], '2 searches, 3 retrainings in all'),
    ([(None, 0), (None, 1)], '1 cell retrained with 2 seeds'),
])
def test_what_varies(seeds, text):
    assert what_varies(crossed('ours', [0.1] * len(seeds), seeds)) == text


def test_the_page_says_what_the_spread_is_of(tmp_path):
    assert 'Seeds: theirs: 3 searches, one retraining each; ours <b>: 3 searches, one' in page(CLEAR, tmp_path).text
    assert 'is of the retraining' not in page(CLEAR, tmp_path).text
    single = crossed('ours', OURS, [(0, 0), (0, 1), (0, 2)])
    text = page([*CLEAR[:3], *single], tmp_path).text
    assert 'ours: 1 search retrained with 3 seeds. The spread of ours is of the retraining, not of the search' in text
    assert 'no method is named a winner: ours was searched with one seed; of the found cells, ours' in text
    published = crossed('ours', OURS, [(None, 0), (None, 1), (None, 2)])
    assert 'no method is named a winner' not in page([*CLEAR[:3], *published], tmp_path).text
    nested = crossed('ours', OURS, [(0, 0), (0, 1), (1, 0)])
    text = page([*CLEAR[:3], *nested], tmp_path).text
    assert 'Retrainings of one search count as values of their own in ours' in text
