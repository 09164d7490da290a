"""Records round trip and are refused in a sentence; the page says what the numbers allow, and no more."""

import json
from dataclasses import replace

import pytest
from test_report import check

from nni_wcnas.evaluation.comparison import ComparisonError, comparison_page, group_records
from nni_wcnas.evaluation.record import Record, load_record, save_record
from nni_wcnas.evaluation.recording import RecordError

PNG = ('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==')


def record(method, seed, error, **changes):
    measures = {'error': error / 2, 'error_hard': error, 'error_rest': error / 3, 'examples': 100.0,
                'error_corruption_fog_1': error, 'error_corruption_fog_5': error + 0.1,
                'error_attack_pgd_20_at_2': error}
    hardest = [{'position': 5, 'label': 1, 'predicted': seed % 2, 'confidence': 0.5, 'image': PNG}]
    given = Record(f'{method}-{seed}', method, seed, 'digits', measures=measures, checkpoint='ab', hardest=hardest,
                   class_names=['zero', 'one'], measured_with={'test': {'share': 0.1, 'difficulty': 'x'}})
    return replace(given, **changes)


CLEAR = [record(method, seed, base + 0.01 * seed) for method, base in (('ours <b>', 0.1), ('theirs', 0.5))
         for seed in range(3)]


def test_round_trip(tmp_path):
    path = save_record(CLEAR[0], tmp_path / 'record.json')
    assert load_record(path) == CLEAR[0]
    assert json.loads(path.read_text())['measures']['error'] == {'value': 0.05, 'unit': 'share'}


@pytest.mark.parametrize(('change', 'words'), [
    ({'version': 2}, 'is of version 2, but this release reads 1: update'),
    ({'format': 'x'}, 'is no record'), ({'seed': '1'}, 'seed is a str'),
    ({'measures': {'error': 1}}, 'no whole record'),
    ({'hardest': [{'position': 1}]}, "there is no 'image'"), ({'architecture': {'space': 'x'}}, 'no whole record'),
])
def test_bad_records(tmp_path, change, words):
    path = save_record(CLEAR[0], tmp_path / 'record.json')
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(RecordError, match=words) as caught:
        load_record(path)
    assert str(path) in str(caught.value)


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
        ({'method': 'theirs', 'seed': 1}, 'are both theirs of seed 1'),
    ):
        with pytest.raises(ComparisonError, match=words):
            group_records([*CLEAR[3:], replace(CLEAR[0], **changes)])


def test_mean_and_deviation():
    ours, _ = group_records(CLEAR)
    assert ours.mean('error_hard') == pytest.approx(0.11) and ours.deviation('error_hard') == pytest.approx(0.01)
    assert ours.mean('ece') is None and ours.deviation('ece') is None


def page(records, tmp_path):
    path = tmp_path / 'compare.html'
    path.write_text(comparison_page(records), encoding='utf-8')
    return check(path)


def test_a_clear_difference_is_named(tmp_path):
    found = page(CLEAR, tmp_path)
    assert 'ours <b> errs less than theirs (11.00 against 51.00 %' in found.text
    assert 'script' not in found.tags and all(each.startswith('data:image/') for each in found.references)
    assert '11.00 ± 1.00' in found.text and 'nni-wcnas evaluate RUN --attacks' in found.text


def test_no_winner_on_one_seed_or_by_chance(tmp_path):
    assert 'No winner can be named' in page([CLEAR[0], CLEAR[3]], tmp_path).text
    same = [record(method, seed, 0.3 + 0.05 * ((seed + place) % 3)) for place, method in enumerate('ab')
            for seed in range(3)]
    assert 'no method is better than another by more than chance' in page(same, tmp_path).text
