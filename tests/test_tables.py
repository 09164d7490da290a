"""Every number of the WCNAS paper's tables 25 to 36, against what presets, evaluators, testers and settings hold.

The tables are transcribed row by row; what differs is in ``DEVIATIONS``, each with its reason, and nothing else does.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nni_wcnas as wc
from nni_wcnas import presets
from nni_wcnas.recipes import RECIPES, recipe
from nni_wcnas.retrain.optimizer import make_optimizer
from nni_wcnas.retrain.recipe import RETRAINING_RECIPES, make_recipe
from nni_wcnas.search.optimizers import adversary_optimizers, architecture_optimizer
from nni_wcnas.settings.resolved import resolved
from nni_wcnas.settings.settings import load_settings
from nni_wcnas.tester import TimmAuxiliary

CIFAR = ('cifar10', 'cifar100')
COMMON = {
    'optimizer W,G,V': 'SGD',
    'scheduler W,G,V': 'cosine',
    'momentum W,G,V': 0.9,
    'weight decay W,G,V': 3e-4,
    'optimizer A,B': 'Adam',
    'weight decay A,B': 1e-3,
    'channels W': 16,
    'layers W': 8,
}
DARTS = {
    **COMMON, 'rate W,G,V': 0.025, 'minimum W,G,V': 0.001, 'rate A,B': 3e-4, 'clip W': 5, 'batch': 64, 'epochs': 50,
    'lambda': 1,
}
P_DARTS = {
    **COMMON, 'rate W,G,V': 0.025, 'minimum W,G,V': 0.0, 'rate A': 6e-4, 'rate B': 3e-4, 'clip W,G,V,A': 5, 'batch': 96,
    'epochs': 25, 'added layers': (6, 12), 'dropout': (0.1, 0.4, 0.7),
}
PC_DARTS = {
    **COMMON, 'rate W,G,V': 0.1, 'minimum W,G,V': 0.0, 'rate A': 6e-4, 'rate B': 3e-4, 'clip W': 5, 'batch': 256,
    'epochs': 50,
}
SEARCH: dict[int, tuple[tuple[str, ...], tuple[str, ...], dict[str, Any]]] = {
    25: (('darts', 'darts_2nd', 'darts_plus'), CIFAR, DARTS),
    26: (('darts_minus',), CIFAR, {**DARTS, 'beta': 1}),
    27: (('p_darts',), ('cifar10',), {**P_DARTS, 'lambda': 0.5}),
    28: (('p_darts',), ('cifar100',), {**P_DARTS, 'lambda': 1}),
    29: (('pc_darts',), ('cifar10',), {**PC_DARTS, 'lambda': 3}),
    30: (('pc_darts',), ('cifar100',), {**PC_DARTS, 'lambda': 0.1}),
    31: (('pc_darts',), ('imagenet',), {
        **COMMON, 'rate W,G,V': 0.5, 'minimum W,G,V': 0.0, 'rate A,B': 6e-3, 'clip W,G,V': 5, 'batch': 768,
        'epochs': 50, 'lambda': 1,
    }),
    32: (('pr_darts',), CIFAR, DARTS),
}
"""By number: methods, data sets, rows; a key ends in the letters that its row is of."""

DEVIATIONS = {
    **{(table, 'weight decay B'): (0.0, 'it would pull B to where it has no reason to be') for table in SEARCH},
    (27, 'layers W'): (5, "the text's, and the table's own added 6 and 12 are those of 5"),
    (28, 'layers W'): (5, "the text's, and the table's own added 6 and 12 are those of 5"),
    (27, 'dropout'): ((0.0, 0.4, 0.7), "section D.2.3, as in P-DARTS's paper"),
    (28, 'dropout'): ((0.1, 0.2, 0.3), "section D.2.3, as in P-DARTS's paper"),
    (31, 'clip A'): (5, "the official code's"),
    (36, 'scheduler'): ('linear', 'the code that the table follows decays linearly, after a warm-up'),
}
"""By table and row: what is here, and why; the docstrings of presets and recipes say the same."""

EVALUATION = {
    'optimizer': 'sgd', 'rate': 0.025, 'scheduler': 'cosine', 'momentum': 0.9, 'weight decay': 3e-4, 'channels': 36,
    'layers': 20, 'auxiliary weight': 0.4, 'cutout': 16, 'drop path': 0.2, 'clip': 5, 'epochs': 600,
}
EVALUATIONS: dict[int, tuple[tuple[str, ...], dict[str, Any]]] = {
    33: (('darts',), {**EVALUATION, 'batch': 96}),
    34: (('p_darts', 'pc_darts'), {**EVALUATION, 'batch': 128}),
    35: (('pr_darts',), {**EVALUATION, 'batch': 96}),
    36: (('imagenet',), {
        'optimizer': 'sgd', 'rate': 0.5, 'scheduler': 'cosine', 'momentum': 0.9, 'weight decay': 3e-5, 'channels': 48,
        'layers': 14, 'auxiliary weight': 0.4, 'label smoothing': 0.1, 'drop path': 0.0, 'clip': 5, 'batch': 1024,
        'epochs': 250,
    }),
}
ROWS = [(table, base, dataset) for table, (bases, sets, _) in SEARCH.items() for base in bases for dataset in sets]
NO_CLIP = {f'clip {letter}': None for letter in 'WGVA'}


def expected(table: int) -> dict[str, Any]:
    """A row for each letter, with the deviations; what a table does not clip is not clipped."""
    rows: dict[str, Any] = dict(NO_CLIP)
    for key, value in SEARCH[table][2].items():
        name, _, letters = key.rpartition(' ')
        several = set(letters.replace(',', '')) <= set('WGVAB')
        rows |= {f'{name} {letter}': value for letter in letters.split(',')} if several else {key: value}
    return rows | {key: value for (number, key), (value, _) in DEVIATIONS.items() if number == table}


@cache
def with_gan(numbers):
    """An evaluator with a generator of the published width, of which nothing is computed."""
    data = wc.data.Digits(limit=60)
    with torch.device('meta'):
        tester = wc.FQGAN(10, image_size=16, width=256, **numbers.generator)
        return wc.SearchEvaluator(data, tester=tester, accelerator='cpu', **numbers.evaluator)


@cache
def with_policy(numbers):
    """An evaluator with the V that follows the space, as a search asks for it."""
    tester = wc.AugmentationPolicy(10, image_size=0)
    evaluator = wc.SearchEvaluator(wc.data.Digits(limit=60), tester=tester, accelerator='cpu', **numbers.evaluator)
    evaluator.bring_tester(has_auxiliary=True, learner=100_000)
    return evaluator


def optimised(optimizer, scheduler, letter):
    """What an optimiser holds."""
    (group,) = optimizer.param_groups
    found = {f'optimizer {letter}': type(optimizer).__name__, f'rate {letter}': group.get('initial_lr', group['lr']),
             f'weight decay {letter}': group['weight_decay']}
    if scheduler is not None:
        assert isinstance(scheduler, torch.optim.lr_scheduler.CosineAnnealingLR)
        found |= {f'momentum {letter}': group['momentum'], f'minimum {letter}': scheduler.eta_min,
                  f'scheduler {letter}': 'cosine'}
    return found


def held(base, dataset, evaluator):
    """What all optimisers of a search hold, and what its members do."""
    numbers, strategy, module = recipe(base, dataset), presets.wcnas(base, dataset), evaluator.module
    epochs = evaluator.trainer.max_epochs
    adversary = adversary_optimizers(strategy.objective, module.tester, module.auxiliary, epochs)
    named = {each.name: each for each in adversary}
    module.set_model(nn.Linear(2, 10))
    module.annealing = epochs, 1.0
    weights = module.configure_optimizers()
    found = optimised(weights['optimizer'], weights['lr_scheduler'], 'W')
    found |= optimised(named['auxiliary'].optimizer, named['auxiliary'].scheduler, 'V')
    found |= optimised(named['hyperparameters'].optimizer, None, 'B')
    found |= optimised(architecture_optimizer(
        [nn.Parameter(torch.zeros(2))], strategy.arc_learning_rate, strategy.arc_weight_decay
    ), None, 'A')
    if 'generator' in named:
        found |= optimised(named['generator'].optimizer, named['generator'].scheduler, 'G')
        found['clip G'] = module.tester._settings['generator_gradient_clip_val']
    found |= {'clip W': strategy.gradient_clip_val, 'clip A': strategy.arc_gradient_clip_val,
              'clip V': module.auxiliary._limit, 'lambda': strategy.objective.trade_off, 'epochs': epochs,
              'channels W': numbers.width, 'layers W': numbers.num_cells, 'batch': numbers.batch_size}
    return found | members(strategy)


def members(strategy):
    """The rows of one method alone."""
    found = {}
    for member in strategy.transforms:
        if isinstance(member, wc.AuxiliarySkip):
            found['beta'] = member.initial
        if isinstance(member, wc.SkipDropout):
            found['dropout'] = member.initial
    if isinstance(strategy.schedule, wc.Progressive):
        first, *later = strategy.schedule.num_cells
        found['added layers'] = tuple(cells - first for cells in later)
    return found


@pytest.mark.parametrize(('table', 'base', 'dataset'), ROWS)
def test_what_a_search_with_a_gan_holds(table, base, dataset):
    assert held(base, dataset, with_gan(recipe(base, dataset))) == expected(table)


@pytest.mark.parametrize(('table', 'base', 'dataset'), ROWS)
def test_what_a_search_with_a_policy_holds(table, base, dataset):
    evaluator = with_policy(recipe(base, dataset))
    assert isinstance(evaluator.module.auxiliary, TimmAuxiliary)
    rows = {key: value for key, value in expected(table).items() if not key.endswith(' G')}
    assert held(base, dataset, evaluator) == rows


KINDS = {'fq_gan': 256, 'sn_gan': 256, 'big_gan': 256, 'contra_gan': 256, 'style_gan2_ada': 512}
"""Published widths."""


def settings(tmp_path: Path, base: str, dataset: str, tester: str):
    """Of a file that says none of the numbers."""
    data = f'{{name: {dataset}, root: nowhere}}' if dataset in CIFAR else '{name: image_folder, root: nowhere}'
    path = tmp_path / 's.yml'
    path.write_text(f'data: {data}\nspace: darts\nmethod: {{preset: wcnas, base: {base}, dataset: {dataset}}}\n'
                    f'tester: {tester}\n')
    return load_settings(path, build=())


@pytest.mark.parametrize(('table', 'base', 'dataset'), ROWS)
def test_what_a_settings_file_is_filled_in_with(table, base, dataset, tmp_path):
    found = settings(tmp_path, base, dataset, '{name: fq_gan, width: 256}')
    everything = resolved(found)
    search, auxiliary, tester = everything['search'], everything['auxiliary'], everything['tester']
    method, space = everything['method'], everything['space']
    rows = expected(table)
    told = {
        'rate W': search['lr'], 'minimum W': search['min_lr'], 'momentum W': search['momentum'],
        'weight decay W': search['weight_decay'], 'clip W': method['gradient_clip_val'],
        'rate V': auxiliary['lr'], 'minimum V': auxiliary['min_lr'], 'momentum V': auxiliary['momentum'],
        'weight decay V': auxiliary['weight_decay'], 'clip V': auxiliary.get('gradient_clip_val'),
        'rate G': tester['generator_lr'], 'minimum G': tester['min_lr'], 'momentum G': tester['generator_momentum'],
        'weight decay G': tester['generator_weight_decay'], 'clip G': tester.get('generator_gradient_clip_val'),
        'rate A': method['arc_learning_rate'], 'weight decay A': method['arc_weight_decay'],
        'clip A': method.get('arc_gradient_clip_val'), 'rate B': method['hyperparameter_lr'],
        'lambda': method['trade_off'], 'batch': everything['data']['batch_size'], 'epochs': search['epochs'],
        'channels W': space['width'], 'layers W': space['num_cells'],
    }
    assert told == {key: rows[key] for key in told}
    others = rows.keys() - told.keys()
    assert all(key.split()[0] in ('optimizer', 'scheduler', 'beta', 'dropout', 'added', 'weight') for key in others)


@pytest.mark.parametrize('kind', KINDS)
def test_small_generators_keep_their_own_rates(kind, tmp_path):
    """The one number of the tables that depends on a width; all else of G is the table's."""
    for width, is_published in ((KINDS[kind], True), (KINDS[kind] - 1, False)):
        tester = settings(tmp_path, 'p_darts', 'cifar10', f'{{name: {kind}, width: {width}}}').tester
        rates = {'generator_lr': 0.025, 'min_lr': 0.0} if is_published else {}
        assert tester == {'name': kind, 'width': width, **rates, 'generator_gradient_clip_val': 5.0}
    written = settings(tmp_path, 'darts', 'cifar10', f'{{name: {kind}, width: 512, generator_lr: 0.01}}').tester
    assert (written['generator_lr'], written['min_lr']) == (0.01, 0.001)
    assert settings(tmp_path, 'darts', 'cifar10', 'augmentation_policy').tester == {'name': 'augmentation_policy'}


@pytest.mark.parametrize(('table', 'name'), [(table, name) for table, (names, _) in EVALUATIONS.items()
                                             for name in names])
def test_evaluation(table, name):
    numbers = make_recipe(name)
    (group,) = make_optimizer([nn.Parameter(torch.zeros(2))], numbers.optimizer, numbers.lr, numbers.momentum,
                              numbers.weight_decay).param_groups
    found = {
        'optimizer': numbers.optimizer, 'rate': group['lr'], 'scheduler': numbers.decay, 'momentum': group['momentum'],
        'weight decay': group['weight_decay'], 'channels': numbers.channels, 'layers': numbers.cells,
        'auxiliary weight': numbers.auxiliary_weight, 'drop path': numbers.drop_path, 'clip': numbers.gradient_clip_val,
        'epochs': numbers.epochs, 'batch': RETRAINING_RECIPES[name].data['batch_size'],
        'cutout': RETRAINING_RECIPES[name].data.get('cutout'), 'label smoothing': numbers.label_smoothing or None,
    }
    rows = EVALUATIONS[table][1] | {key: value for (number, key), (value, _) in DEVIATIONS.items() if number == table}
    assert {key: value for key, value in found.items() if value is not None} == rows


def test_every_base_is_in_a_table_or_has_the_numbers_of_one():
    tabulated = {base for base, _ in [(base, table) for table, (bases, *_) in SEARCH.items() for base in bases]}
    for base in presets.BASES.keys() - tabulated - {'drnas_progressive'}:
        assert all(recipe(base, dataset) == recipe('darts', dataset) for dataset in CIFAR), base
    assert tabulated <= RECIPES.keys()


def test_every_deviation_is_one():
    for (table, key), (value, reason) in DEVIATIONS.items():
        assert reason
        if table in EVALUATIONS:
            assert EVALUATIONS[table][1].get(key) != value
        else:
            name, _, letter = key.rpartition(' ')
            rows = {row: given for row, given in SEARCH[table][2].items()
                    if row == key or row.rpartition(' ')[0] == name and letter in row.rpartition(' ')[2].split(',')}
            assert value not in rows.values()
