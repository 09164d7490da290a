"""What the page says of corruptions, of seeds that agree, of published cells, and of methods that lack a measure."""

import json
import re
from dataclasses import asdict, replace

import pytest
from test_comparison import CLEAR, page, record

from nni_wcnas.compare import comparison_page, group_records, verdict
from nni_wcnas.files.record import describe
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.spaces import published
from nni_wcnas.spaces.views import VIEW_NOTES, VIEWS


def test_runs_of_a_published_cell_are_of_its_method(tmp_path):
    """Their seeds are those of their training, as there is none of a search."""
    records = []
    for seed in range(2):
        run = RunDirectory(tmp_path / f'run-{seed}')
        run.write_architecture(published.load('pc_darts_cifar10'))
        run.write_settings({'data': {'name': 'digits'}, 'retrain': {'seed': seed}})
        records.append(describe(run))
    (method,) = group_records(records)
    assert method.name == 'PC-DARTS'
    assert [(each.seed, each.retraining_seed) for each in method.records] == [(None, 0), (None, 1)]


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


def many(names):
    """A page of several methods, the figures of which are told apart by their titles."""
    html = comparison_page([record(name, seed, 0.1 + 0.01 * seed) for name in names for seed in range(2)])
    return {title: figure for figure, title in re.findall('(<figure><h3>(.*?)</h3>.*?</figure>)', html, re.DOTALL)}


def test_marks_of_many_methods_differ_without_colours():
    """Shape and filling; lines by their dashes with them."""
    figure = many([f'method {number}' for number in range(18)])['Error by severity']
    keys = re.findall(r'<span class="key">.*?class="mark m\d( \w+)?".*? d="(.*?)"', figure)
    assert len(keys) == len(set(keys)) == 18
    lines = re.findall(r'<polyline class="path m\d( \w+)?" points="([\d.]+)', figure)
    assert [kind for kind, _ in lines] == [kind for kind, _ in keys]
    left = [float(x) for _, x in lines]
    assert max(left) - min(left) < 20 and len(set(left)) == 18  # All within their margin, none on another.


def test_long_names_are_whole():
    """On two lines before their bars."""
    names = ['wcnas(darts_2nd)', 'wcnas(darts_minus)', 'wcnas(drnas_progressive)', 'wcnas_ablation_without_lambda_term']
    rows = re.findall('<text class="name">(.*?)<title>(.*?)</title>', many(names)['All images'])
    assert [title for _, title in rows] == names
    lines = [re.findall('<tspan.*?>(.*?)</tspan>', text) for text, _ in rows]
    assert [''.join(parts) for parts in lines] == names and max(len(part) for each in lines for part in each) <= 18
    assert lines[2] == ['wcnas(drnas_', 'progressive)']


def test_without_hard_images_the_conclusion_is_about_all(tmp_path):
    """As after `evaluate --difficulty none`."""
    given = [replace(each, measures={'error': each.measures['error'], 'examples': 100.0}, hardest=[]) for each in CLEAR]
    text = page(given, tmp_path).text
    assert 'On all test images, ours <b> wins: ' in text and 'Mean errors: theirs 25.50 %, ours <b> 5.50 %.' in text


def test_found_cells_tell_what_the_network_sees(tmp_path, architecture):
    """Cells of one drawing differ in it."""
    records = []
    for view, each in zip(('raw', 'luminance'), CLEAR):
        sample, arguments = {'view': view, **architecture.sample}, {'views': ['raw', 'luminance']}
        seen = replace(architecture, sample=sample, arguments=arguments)
        records.append(replace(each, architecture=json.loads(json.dumps(asdict(seen)))))
    text = page(records, tmp_path).text
    assert '(sees raw)' in text and '(sees luminance)' in text
    assert 'sees' not in page([replace(each, architecture={}) for each in records], tmp_path).text


def test_the_worst_group_is_what_the_verdict_is_about():
    worse = {'ours <b>': 0.5, 'theirs': 0.1}
    given = [replace(each, measures={**each.measures, 'error_worst_group': worse[each.method]}) for each in CLEAR]
    said = verdict(given)
    assert said.startswith('On the worst group of the test images, ') and 'ours <b> 50.00 %' in said
    assert verdict(CLEAR).startswith('On the hardest ')
    assert 'Worst group' in comparison_page(given) and 'Worst group' not in comparison_page(CLEAR)
    assert 'error, worst group' in comparison_page(given) and 'error, worst group' not in comparison_page(CLEAR)


def test_a_measure_of_one_method_alone_decides_nothing():
    """The verdict is about the first measure that two methods have."""
    groups = {'error_worst_group': 0.9}
    given = [replace(each, measures={**each.measures, **groups}) if each.method == 'theirs' else each for each in CLEAR]
    assert verdict(given) == verdict(CLEAR) and 'On the hardest' in verdict(given)


def test_what_was_measured_of_nobody_is_one_line(tmp_path):
    """No empty section, and the command that fills it."""
    given = [replace(each, measures={'error': 0.1, 'examples': 100.0}, hardest=[]) for each in CLEAR]
    html, text = comparison_page(given), page(given, tmp_path).text
    headings = re.findall('<h2>(.*?)</h2>', html)
    assert not {'Under corruptions', 'Under attack', 'At its worst', 'Hardest images'} & set(headings)
    for words in ('Errors under corruptions: nni-wcnas evaluate RUN --corruptions', 'Errors under attack: nni-wcnas'):
        assert words in text
    assert 'Under attack' in comparison_page(CLEAR) and 'Errors under attack' not in comparison_page(CLEAR)


def test_every_view_is_explained_where_it_is_chosen(architecture):
    """In the table of errors, and in words above it."""
    assert VIEW_NOTES.keys() == VIEWS.keys()
    seen = replace(architecture, sample={'view': 'raw', **architecture.sample}, arguments={'views': ['raw', 'blurred']})
    html = comparison_page([replace(each, architecture=json.loads(json.dumps(asdict(seen)))) for each in CLEAR])
    assert 'data-label="sees">raw</td>' in html and VIEW_NOTES['raw'] in html and VIEW_NOTES['blurred'] not in html


def test_a_cue_and_its_groups_are_explained():
    data = {**CLEAR[0].settings.get('data', {}), 'shortcut': 'colour', 'strength': 0.9}
    html = comparison_page([replace(each, settings={**each.settings, 'data': data}) for each in CLEAR])
    assert 'Training images carry a cue, their colour, which is that of their class in 90% of cases' in html
    # Left out, the strength is the data's own default.
    data.pop('strength')
    html = comparison_page([replace(each, settings={**each.settings, 'data': data}) for each in CLEAR])
    assert 'in 95% of cases' in html and 'carry a cue' not in comparison_page(CLEAR)


def test_a_difference_far_from_significance_is_not_called_the_clearest():
    near, far = ([record(method, seed, error) for method, values in zip('ab', errors)
                  for seed, error in enumerate(values)]
                 for errors in (((0.1, 0.2, 0.3), (0.2, 0.31, 0.47)), ((0.1, 0.2, 0.3), (0.2, 0.1, 0.31))))
    assert '(the clearest, b and a, has p = ' in verdict(near)
    assert '(none is near it)' in verdict(far) and 'p = ' not in verdict(far)
