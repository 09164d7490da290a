"""Reports are well formed, need no host, show what there is, and say what there is not."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
import torch

from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.page.chart import Point, dots, lines
from nni_wcnas.page.history_chart import CHARTS, Chart, draw_chart
from nni_wcnas.page.report import write_report
from nni_wcnas.page.run_pictures import write_architecture, write_generated

VOID = {'meta', 'img', 'br', 'hr', 'link', 'input'}


class Checker(HTMLParser):
    """Every tag is closed in order; collects references and text."""

    def __init__(self):
        super().__init__()
        self.open, self.references, self.text, self.tags = [], [], '', []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [
            value for name, value in attributes if name in ('src', 'href', 'srcset', 'action', 'xlink:href')
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def check(path):
    checker = Checker()
    checker.feed(path.read_text(encoding='utf-8'))
    assert checker.open == []
    assert 'http:' not in path.read_text() and 'https:' not in path.read_text()
    assert 'url(' not in path.read_text() and '@import' not in path.read_text()
    return checker


def seeing(architecture, view):
    """The same cells behind a choice of what they see."""
    views = {'views': ['raw', 'luminance']}
    return replace(architecture, sample={'view': view, **architecture.sample}, arguments=views)


ROWS = [{'epoch': epoch, **{column: 1.0 + epoch for chart in CHARTS for column in chart.columns}} for epoch in range(4)]


@pytest.fixture
def run(tmp_path, architecture):
    run = RunDirectory(tmp_path / 'trial_1')
    run.write_settings({'method': 'wcnas', 'search': {'epochs': 4}, 'note': '<script>alert("x")</script>'})
    write_architecture(run, architecture)
    run.write_history(ROWS)
    for epoch in range(30):
        write_generated(run, epoch, torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]))
    return run


def test_whole_report(run):
    page = check(write_report(run, {'accuracy': 0.975, 'error_hard': 0.2, 'parameters': 3.349e6, 'macs': 5.284e8}))
    assert all(reference.startswith('data:image/') for reference in page.references)
    assert len(page.references) == 2 + 12
    assert page.tags.count('h3') == len(CHARTS)
    assert 'script' not in page.tags
    for words in (
        'Search trial_1',
        'Normal cell',
        'Reduction cell',
        '97.50 %',
        '20.00 %',
        '3.349 M',
        '528.4 M',
        'search.epochs',
        'Epoch 0',
        'Epoch 29',
        '<script>alert("x")</script>',
        '12 of 30 epochs',
    ):
        assert words in page.text
    assert 'Left out' not in page.text


def test_missing_columns_are_named(run):
    run.write_history([{'epoch': 0, 'loss_A': 1.0, 'val_accuracy': 0.5}, {'epoch': 1, 'loss_A': float('nan')}])
    page = check(write_report(run))
    assert page.tags.count('h3') == 2
    left_out = re.search('Left out, as metrics.csv has no values of them: (.*?)[.]', page.text)[1].split(', ')
    assert left_out == [
        column for chart in CHARTS for column in chart.columns if column not in ('loss_A', 'val_accuracy')
    ]
    assert 'has not been measured yet' in page.text


def test_empty_run(tmp_path):
    page = check(write_report(tmp_path / 'empty', title='A & B'))
    for words in ('A & B', 'no drawing of cells', 'not been measured', 'no settings.yml'):
        assert words in page.text


def test_measures_are_named_for_the_reader(run):
    run.write_measures({'error_worst_class': 0.25, 'ece_hard': 0.5, 'accuracy_rest': 0.125})
    page = check(write_report(run)).text
    assert 'Error worst class' in page and '25.00 %' in page
    assert 'Calibration error, hardest examples' in page and 'Accuracy, the rest' in page


def test_measures_come_from_the_folder(run):
    run.write_measures({'accuracy': 0.125})
    assert '12.50 %' in check(write_report(run)).text


def test_drawings_are_told_in_words(run):
    assert 'node 3 from skip_connect of c(k-2) and dil_conv_3x3 of node 0' in write_report(run).read_text()


@pytest.mark.parametrize('values', [[1.0], [0.0, 0.0], [-3.0, 2.0], [1e9, 2e9], [1e-9, 3e-9], [float('inf'), 1.0]])
def test_charts_are_well_formed_and_inside(values):
    chart = draw_chart(
        Chart('A < B', {'x': 'x & y'}), [{'epoch': epoch, 'x': value} for epoch, value in enumerate(values)]
    )
    (path,) = ElementTree.fromstring(chart).iter('polyline')
    for point in path.get('points').split():
        x, y = map(float, point.split(','))
        assert 46 <= x <= 348 and 12 <= y <= 180


def percentages(chart):
    """Texts of the vertical axis."""
    return [text.text for text in ElementTree.fromstring(chart).iter('text') if text.text.endswith('%')]


def test_chart_values_are_where_the_scale_says():
    chart = draw_chart(Chart('Share', {'x': 'x'}, percent=True), [{'epoch': 0, 'x': 0.0}, {'epoch': 10, 'x': 1.0}])
    assert next(ElementTree.fromstring(chart).iter('polyline')).get('points') == '54.0,180.0 340.0,12.0'
    assert percentages(chart) == ['0%', '20%', '40%', '60%', '80%', '100%']


def test_axes_of_errors_end_at_0_and_100():
    """A deviation may reach further; its bar ends with the axis."""
    low, high = Point(0, 30.0, 50.0, (5.0, 90.0)), Point(1, 90.0, 20.0, (70.0, 100.0))
    assert percentages(lines('Error', {'x': [low, high]}, x_label='x', unit='%'))[::5] == ['0%', '100%']
    root = ElementTree.fromstring(dots('Error', [('a', low), ('b', high)], unit='%'))
    ticks = [float(text.text) for text in root.iter('text') if text.get('text-anchor') == 'middle']
    assert (min(ticks), max(ticks)) == (0, 100)
    losses = ElementTree.fromstring(dots('Loss', [('a', Point(0, 1.0, 3.0, (0.2, 2.0)))], unit='nats'))
    assert min(float(text.text) for text in losses.iter('text') if text.get('text-anchor') == 'middle') == 0


def test_nothing_to_draw():
    assert draw_chart(Chart('A', {'x': 'x'}), [{'epoch': 0, 'y': 1.0}, {'epoch': 1, 'x': float('nan')}]) == ''


def test_b_is_shown_by_the_names_of_its_tester_and_the_judge_is_named(run):
    monitoring = {'extractor': 'reference-x', 'classifiers': 6, 'fid_features': 48, 'generated_images': 500,
                  'real_images': 250, 'real_fid': 0.5, 'hyperparameters': ['shear_share', 'contrast', 'unseen']}
    run.write_settings({'monitoring': monitoring})
    run.write_history([{**row, 'shear_share': 0.1 * row['epoch'], 'contrast': 0.5} for row in ROWS])
    page = check(write_report(run))
    assert page.tags.count('h3') == len(CHARTS) + 2
    for words in ('B: shear share', 'B: contrast', 'By the 6 nets of reference-x, on 500 images',
                  '48 features of the first net of reference-x, 500 generated and 250 real images',
                  'real ones: ?', 'Left out, as metrics.csv has no values of them: unseen.'):
        assert words in page.text


def test_a_retraining_has_its_own_curves(run):
    run.write_history([{'epoch': 0, 'loss': 2.0, 'accuracy': 0.5, 'lr': 0.1, 'drop_path': 0.0}])
    page = check(write_report(run))
    assert page.tags.count('h3') == 4
    assert 'Training loss' in page.text
    assert 'Left out' not in page.text


def test_what_the_network_sees_is_told_where_it_was_a_choice(run, architecture):
    assert 'the network sees' not in check(write_report(run)).text
    write_architecture(run, seeing(architecture, 'luminance'))
    assert 'Of its images the network sees: luminance (their brightness' in check(write_report(run)).text
