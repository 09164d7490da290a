"""The page lists every key in which the compared networks were trained differently, and no other."""

import re
from dataclasses import asdict, replace
from html import unescape

from test_comparison import CLEAR

from nni_wcnas.compare import comparison_page, group_records
from nni_wcnas.compare.training_differences import training_differences
from nni_wcnas.files.record import describe
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.retrain.recipe import RetrainingRecipe


def trained(record, recipe=None, data=None, **numbers):
    retrain = {**asdict(RetrainingRecipe(**numbers)), 'part': 'train'}
    data = {'name': 'digits', 'seed': record.seed, **(data or {})}
    return replace(record, settings={'data': data, 'retrain': retrain, 'recipe': recipe})


def rows(records):
    html = training_differences(group_records(records)).body
    found = re.findall(r'<tr>(<td.*?)</tr>', html)
    return [[unescape(re.sub('<.*?>', '', cell)) for cell in re.findall(r'<td.*?>(.*?)</td>', row)] for row in found]


def test_each_key_that_differs_is_listed_by_method():
    theirs = [trained(each, epochs=1 + (each.seed == 2), lr=0.01) for each in CLEAR[:3]]
    ours = [trained(each, 'darts', {'batch_size': 96}, epochs=3, lr=0.02) for each in CLEAR[3:]]
    assert sorted(rows([*theirs, *ours])) == [
        ['data.batch_size', '–', '96'], ['recipe', '–', 'darts'], ['retrain.epochs', '1, 2', '3'],
        ['retrain.lr', '0.01', '0.02']]
    html = comparison_page([*theirs, *ours])
    assert html.index('Trained differently') < html.index('Error on the test images')


def test_seeds_and_unknown_numbers_are_no_difference():
    """A record of an earlier release lacks the numbers that came later."""
    records = [trained(each, seed=each.seed) for each in CLEAR]
    del records[0].settings['retrain']['ema_decay'], records[0].settings['recipe']
    records[1].settings['retrain'] |= {'gradient_clip_val': 5, 'devices': 1}
    records[2].settings['data'] |= {'root': 'elsewhere', 'num_workers': 2, 'download': False}
    assert rows(records) == []
    assert 'Trained differently' not in comparison_page(records)


def test_a_record_keeps_the_name_of_the_recipe(tmp_path):
    run = RunDirectory(tmp_path)
    run.write_settings({'data': {'name': 'digits'}, 'recipe': 'pc_darts', 'retrain': {'seed': 0}})
    assert describe(run).settings['recipe'] == 'pc_darts'
