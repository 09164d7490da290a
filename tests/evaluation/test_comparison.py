"""Records round trip and are refused in a sentence; the page says what the numbers allow, and no more."""

import json
import re
from dataclasses import replace

import pytest
from test_report import check

from nni_wcnas.evaluation.comparison import ComparisonError, comparison_page, group_records
from nni_wcnas.evaluation.record import Record, describe, load_record, save_record
from nni_wcnas.evaluation.recording import RecordError, RunDirectory
from nni_wcnas.spaces import published

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


def test_runs_of_a_published_cell_are_of_its_method(tmp_path):
    """Seeds of their training, as there is none of a search."""
    records = []
    for seed in range(2):
        run = RunDirectory(tmp_path / f'run-{seed}')
        run.write_architecture(published.load('pc_darts_cifar10'))
        run.write_settings({'data': {'name': 'digits'}, 'retrain': {'seed': seed}})
        records.append(describe(run))
    (method,) = group_records(records)
    assert method.name == 'PC-DARTS' and [each.seed for each in method.records] == [0, 1]


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


def test_curves_name_the_methods_that_they_have(tmp_path):
    """A method without the measure keeps its place, and so its colour, but is not in the key."""
    ours, theirs = ([each for each in CLEAR if each.method == name] for name in ('ours <b>', 'theirs'))
    bare = [replace(each, measures={name: each.measures[name] for name in ('error', 'examples')}) for each in ours]
    html = comparison_page([*bare, *theirs])
    keys = re.findall('<span class="key">.*?</span>', html)
    assert len(keys) == 2 and all('mark m1' in key and 'theirs' in key for key in keys)


@pytest.mark.parametrize('error', [0.0, 0.1, 0.5])
def test_seeds_that_agree_have_a_plot(error, tmp_path):
    """Of 0.1 the mean of three is a rounding away from each."""
    given = [replace(each, measures={'error': error, 'examples': 100.0}) for each in CLEAR]
    assert f'{100 * error:.2f} ± 0.00' in page(given, tmp_path).text


def corruption_row(name, measures):
    """Means of both methods, whose seeds agree."""
    records = [replace(each, measures={'error': 0.1, 'examples': 100.0, **measures}) for each in CLEAR]
    found = re.search(f'<tr[^>]*><th scope="row">{name}</th>(.*?)</tr>', comparison_page(records))
    return found and re.findall(r'number">([0-9.]+)', found[1].replace('<strong>', ''))


def test_the_mean_over_corruptions_is_the_benchmarks():
    """Fog and snow are of the benchmark, saturate is not; ImageNet-C's mean is the one relative to AlexNet's."""
    under = {'error_corruption_fog_1': 0.2, 'error_corruption_snow_1': 0.4, 'error_corruption_saturate_1': 0.9}
    assert corruption_row('saturate', under) == ['90.00', '90.00']
    assert corruption_row('mean', under) == ['30.00', '30.00']
    assert corruption_row('mCE.*?', under) is None
    assert corruption_row('mCE.*?', {**under, 'mce': 0.788}) == ['0.788', '0.788']
    extra = {'error_corruption_saturate_1': 0.9, 'error_corruption_spatter_1': 0.5}
    assert corruption_row('mean', extra) == ['70.00', '70.00']
