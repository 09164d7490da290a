"""Records round trip and are refused in a sentence; the page says what the numbers allow, and no more."""

import json
import math
import re
from dataclasses import replace
from functools import partial
from html import unescape
from statistics import stdev

import pytest
from scipy import stats
from test_report import check

from nni_wcnas.compare import ComparisonError, comparison_page, group_records
from nni_wcnas.compare.significance import compare, significance_table
from nni_wcnas.files.record import Record, load_record, save_record
from nni_wcnas.files.run_directory import RecordError

PNG = ('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==')


def record(method, seed, error, **changes):
    measures = {'error': error / 2, 'error_hard': error, 'error_rest': error / 3, 'examples': 100.0,
                'error_corruption_fog_1': error, 'error_corruption_fog_5': error + 0.1,
                'error_attack_pgd_20_at_2': error}
    hardest = [{'position': 5, 'label': 1, 'predicted': seed % 2, 'confidence': 0.5, 'image': PNG}]
    given = Record(f'{method}-{seed}', method, seed, 'digits', measures=measures, checkpoint='ab', hardest=hardest,
                   class_names=['zero', 'one'], measured_with={'test': {'share': 0.1, 'difficulty': 'x'}})
    return replace(given, **changes)


OURS, THEIRS = (0.1, 0.11, 0.12), (0.5, 0.53, 0.5)
CLEAR = [record(method, seed, error) for method, errors in (('theirs', THEIRS), ('ours <b>', OURS))
         for seed, error in enumerate(errors)]


def test_round_trip(tmp_path):
    path = save_record(CLEAR[3], tmp_path / 'record.json')
    assert load_record(path) == CLEAR[3]
    assert json.loads(path.read_text())['measures']['error'] == {'value': 0.05, 'unit': 'share'}


@pytest.mark.parametrize(('change', 'words'), [
    ({'version': 2}, 'is of version 2, but this release reads 1: update'),
    ({'format': 'x'}, 'is no record'), ({'seed': '1'}, 'seed is a str'),
    ({'measures': {'error': 1}}, 'no whole record'), ({'settings': {'retrain': 3}}, 'retrain of the settings is a int'),
    ({'hardest': [{'position': 1}]}, "there is no 'image'"), ({'architecture': {'space': 'x'}}, 'no whole record'),
])
def test_bad_records(tmp_path, change, words):
    path = save_record(CLEAR[0], tmp_path / 'record.json')
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(RecordError, match=words) as caught:
        load_record(path)
    assert str(path) in str(caught.value)


def test_records_of_earlier_releases(tmp_path):
    """Groups and the curve were no groups of measures of their own."""
    path = save_record(replace(CLEAR[0], measured_with={
        'test': {'difficulty': 'x', 'share': 0.1, 'groups': 'g.npy 12'},
        'attacks': {'limit': 10, 'epsilon': 8.0, 'seed': 0}}), tmp_path / 'record.json')
    assert load_record(path).measured_with == {
        'test': {'difficulty': 'x', 'share': 0.1}, 'groups': {'source': 'g.npy 12'},
        'attacks': {'limit': 10, 'epsilon': 8.0, 'seed': 0}, 'curve': {'limit': 10, 'seed': 0}}


def test_truncated_record(tmp_path):
    path = save_record(CLEAR[0], tmp_path / 'record.json')
    path.write_text(path.read_text()[:300])
    with pytest.raises(RecordError, match='is no record'):
        load_record(path)


def test_what_cannot_be_compared():
    for changes, words in (
        ({'data': 'cifar10'}, 'different data .data set: cifar10 and digits'),
        ({'class_names': ['a']}, 'different data .classes'),
        ({'measured_with': {'test': {'share': 0.2, 'difficulty': 'x'}}}, 'share is 0.2 and 0.1'),
        ({'method': 'theirs', 'seed': 1}, 'are both theirs of search seed 1, retraining seed 0: leave one out'),
    ):
        with pytest.raises(ComparisonError, match=words):
            group_records([*CLEAR[:3], replace(CLEAR[3], **changes)])


def test_mean_and_deviation():
    _, ours = group_records(CLEAR)
    assert ours.mean('error_hard') == pytest.approx(0.11) and ours.deviation('error_hard') == pytest.approx(0.01)
    assert ours.mean('ece') is None and ours.deviation('ece') is None


def page(records, tmp_path):
    path = tmp_path / 'compare.html'
    path.write_text(comparison_page(records), encoding='utf-8')
    return check(path)


def test_a_clear_difference_is_named(tmp_path):
    found = page(CLEAR, tmp_path)
    p_value = 2 * stats.ttest_rel(OURS, THEIRS).pvalue
    assert (f'On the hardest 10% of the test images, ours <b> wins: ours <b> is better than theirs (p = {p_value:.2g}).'
            ' Mean errors: theirs 51.00 %, ours <b> 11.00 %.') in found.text
    assert 'script' not in found.tags and all(each.startswith('data:image/') for each in found.references)
    assert '11.00 ± 1.00' in found.text and 'nni-wcnas evaluate RUN --attacks' in found.text


def cells(records):
    """Rows of the table of tests, without tags."""
    html = significance_table(compare(group_records(records)))
    rows = re.findall(r'<tr>(<td.*?)</tr>', html)
    return [[unescape(re.sub('<.*?>', '', cell)) for cell in re.findall(r'<td.*?>(.*?)</td>', row)] for row in rows]


@pytest.mark.parametrize(('shift', 'name', 'test'), [
    (0, 'paired t', stats.ttest_rel), (5, "Welch's t", partial(stats.ttest_ind, equal_var=False)),
])
def test_tests_are_scipys(shift, name, test):
    """Errors are half the errors on hard images, so both rows have one p-value, and Holm doubles it."""
    theirs = [replace(each, seed=each.seed + shift) for each in CLEAR[:3]]
    p_value, paper = test(OURS, THEIRS).pvalue, stats.ttest_1samp(OURS, 0.51).pvalue
    pooled = math.sqrt((stdev(OURS) ** 2 + stdev(THEIRS) ** 2) / 2)
    effect = math.sqrt(2 / math.pi) * -0.4 / pooled  # Hedges' correction of four degrees of freedom.
    for row, measure, difference in zip(cells([*theirs, *CLEAR[3:]]), ('hardest', 'all'), ('-40.00', '-20.00')):
        assert row[:5] == [f'error, {measure}', 'ours <b>', 'theirs', f'{difference} points', name]
        assert row[5:8] == [f'{value:.3f}{mark}' if value >= 0.001 else f'{value:.1e}{mark}'
                            for value, mark in ((p_value, ''), (2 * p_value, ' *'), (paper, ''))]
        assert float(row[8]) == pytest.approx(effect, abs=0.005)


def test_the_star_needs_the_whole_family():
    """A difference that is significant alone, but not among the tests of all measures."""
    errors = (0.1, 0.2, 0.3), (0.2, 0.31, 0.47)
    p_value = stats.ttest_rel(*errors).pvalue
    assert p_value < 0.05 < 2 * p_value
    rows = cells([record(method, seed, error) for method, values in zip('ab', errors)
                  for seed, error in enumerate(values)])
    assert [(row[5], row[6]) for row in rows] == [(f'{p_value:.3f}', f'{2 * p_value:.3f}')] * 2


def test_no_winner_on_one_seed_or_by_chance(tmp_path):
    alone = page([CLEAR[0], CLEAR[3]], tmp_path).text
    assert 'no winner: theirs and ours <b> have one seed; run each method with at least two' in alone
    assert 'No test: two methods need two seeds each' in alone
    third = page([*CLEAR, record('third', 0, 0.01)], tmp_path).text
    assert 'no winner: third has one seed' in third and 'but ours <b> is better than theirs (p = ' in third
    assert ' wins' not in alone + third
    same = [record(method, seed, 0.3 + 0.05 * ((seed + place) % 3)) for place, method in enumerate('ab')
            for seed in range(3)]
    assert 'no winner: no difference is significant at 0.05' in page(same, tmp_path).text


def test_what_was_not_measured_is_in_no_test(tmp_path):
    bare = [replace(CLEAR[seed], method='third', measures={}, checkpoint='') for seed in range(2)]
    assert ' wins: ' in page([*CLEAR, *bare], tmp_path).text
    assert 'Not measured: third.' in page([*CLEAR, *bare], tmp_path).text
    assert 'nothing is known of two methods; evaluate their runs. Not measured: third.' in page(
        [*CLEAR[:3], *bare], tmp_path).text
