"""Presets and recipes against the papers' tables."""

import inspect
import re
from dataclasses import replace
from pathlib import Path

import pytest

import nni_wcnas as wc
from nni_wcnas import (
    AdversarialSmoothing,
    AuxiliarySkip,
    AverageCase,
    Dirichlet,
    FirstOrder,
    GumbelSoftmax,
    HardConcrete,
    HessianEigenvalue,
    InstanceHardness,
    Magnitude,
    MaxSkips,
    PartialChannels,
    Progressive,
    Projected,
    RandomSmoothing,
    SaliencyAware,
    SelfPaced,
    SingleStage,
    SkipCount,
    SkipDropout,
    SynthesizedValidation,
    TopPairs,
    Unrolled,
    WorstCase,
    presets,
)
from nni_wcnas.options import list_options
from nni_wcnas.recipes import RECIPES, Recipe, recipe

METHODS = (Path(__file__).parents[1] / 'docs' / 'methods.md').read_text()
AXES = ('relaxation', 'objective', 'hypergradient', 'smoothing', 'selection', 'schedule', 'transforms')


def differences(search):
    """Members that are not DARTS's."""
    neutral = presets.darts()
    return {axis: getattr(search, axis) for axis in AXES if getattr(search, axis) != getattr(neutral, axis)}


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('darts', {}),
        ('darts_2nd', {'hypergradient': Unrolled()}),
        ('darts_plus', {'schedule': SkipCount(SingleStage(), limit=2)}),
        ('darts_minus', {'transforms': (AuxiliarySkip(1.0, 'linear'),)}),
        ('pc_darts', {'transforms': (PartialChannels(4, True),), 'schedule': SingleStage(warmup=15)}),
        (
            'p_darts',
            {
                'transforms': (SkipDropout((0.0, 0.4, 0.7)),),
                'selection': MaxSkips(Magnitude(), 2),
                'schedule': Progressive((5, 3), num_cells=(5, 11, 17), warmup=10),
            },
        ),
        ('pr_darts', {'relaxation': HardConcrete(10.0, 0.1), 'selection': TopPairs()}),
        ('drnas', {'relaxation': Dirichlet('l2')}),
        ('gdas', {'relaxation': GumbelSoftmax(10.0, 0.1, hard=True)}),
        (
            'drnas_progressive',
            {
                'relaxation': Dirichlet('l2'),
                'transforms': (PartialChannels(6, False),),
                'schedule': Progressive((4,), shares=(6, 4), is_fresh=False, warmup=10),
            },
        ),
        ('sdarts_rs', {'smoothing': RandomSmoothing(0.3, 0.03)}),
        ('sdarts_adv', {'smoothing': AdversarialSmoothing(0.3, 0.03, 7)}),
        ('darts_pt', {'schedule': Projected(tune_epochs=5, criterion='accuracy')}),
        ('dasgm', {'objective': SynthesizedValidation(0.0, True)}),
        (
            'sanas',
            {
                'objective': SaliencyAware(1.0, 8 / 255, 2 / 255, 7, 5, 3),
                'hypergradient': Unrolled(),
                'transforms': (PartialChannels(4),),
                'schedule': SingleStage(warmup=15),
            },
        ),
        ('spcl', {'objective': SelfPaced('binary'), 'hypergradient': Unrolled()}),
        ('dihcl', {'objective': InstanceHardness('exp3'), 'hypergradient': Unrolled()}),
        ('r_darts', {'hypergradient': Unrolled(), 'schedule': HessianEigenvalue(SingleStage(), 5, 1.3, 10, 2)}),
    ],
)
def test_members(name, expected):
    assert differences(presets.PRESETS[name]()) == expected


@pytest.mark.parametrize('name', presets.BASES)
def test_every_preset_composes(name):
    """Any member may be replaced, and the worst case takes every base with unrolled weights."""
    assert presets.PRESETS[name](objective=AverageCase(every=3)).objective == AverageCase(every=3)
    worst = presets.wcnas(base=name)
    assert isinstance(worst.objective, WorstCase) and worst.hypergradient == Unrolled()
    rest = {axis: value for axis, value in differences(worst).items() if axis not in ('objective', 'hypergradient')}
    base = {axis: v for axis, v in differences(presets.PRESETS[name]()).items() if axis != 'hypergradient'}
    assert rest == base
    assert presets.wcnas(base=name, hypergradient=FirstOrder()).hypergradient == FirstOrder()
    others = {presets.dasgm: SynthesizedValidation(), presets.spcl: SelfPaced(), presets.dihcl: InstanceHardness()}
    for preset, objective in others.items():
        assert preset(base=name).objective == objective
        assert {**differences(preset(base=name)), 'objective': None} == {
            **differences(presets.PRESETS[name]()),
            'objective': None,
        }


@pytest.mark.parametrize('name', presets.PRESETS)
def test_docstrings_name_their_numbers(name):
    """The table or the paper's section."""
    assert any(word in inspect.getdoc(presets.PRESETS[name]) for word in ('table', 'section'))


def numbers(name, dataset):
    found = recipe(name, dataset)
    return found.batch_size, found.epochs, found.warmup, found.lr, found.min_lr, (
        found.arc_learning_rate
    )


@pytest.mark.parametrize(
    ('name', 'dataset', 'expected', 'trade_off'),
    [
        ('darts', 'cifar10', (64, 50, 0, 0.025, 0.001, 3e-4), 1.0),
        ('darts_plus', 'cifar100', (64, 50, 0, 0.025, 0.001, 3e-4), 1.0),
        ('darts_minus', 'cifar10', (64, 50, 0, 0.025, 0.001, 3e-4), 1.0),
        ('pr_darts', 'cifar10', (64, 50, 0, 0.025, 0.001, 3e-4), 1.0),
        ('gdas', 'cifar10', (64, 50, 0, 0.025, 0.001, 3e-4), 1.0),
        ('p_darts', 'cifar10', (96, 25, 10, 0.025, 0.0, 6e-4), 0.5),
        ('p_darts', 'cifar100', (96, 25, 10, 0.025, 0.0, 6e-4), 1.0),
        ('pc_darts', 'cifar10', (256, 50, 15, 0.1, 0.0, 6e-4), 3.0),
        ('pc_darts', 'cifar100', (256, 50, 15, 0.1, 0.0, 6e-4), 0.1),
        ('pc_darts', 'imagenet', (768, 50, 35, 0.5, 0.0, 6e-3), 1.0),
        ('drnas_progressive', 'cifar10', (64, 25, 10, 0.1, 0.0, 6e-4), 1.0),
        ('drnas_progressive', 'imagenet', (512, 25, 10, 0.5, 0.0, 6e-3), 1.0),
    ],
)
def test_numbers_of_the_tables(name, dataset, expected, trade_off):
    assert numbers(name, dataset) == expected
    assert presets.wcnas(name, dataset).objective.trade_off == trade_off
    assert presets.PRESETS[name](dataset).arc_learning_rate == expected[-1]
    assert (recipe(name, dataset).momentum, recipe(name, dataset).weight_decay) == (0.9, 3e-4)


def test_data_sets_change_members_too():
    assert presets.p_darts('cifar100').transforms == (SkipDropout((0.1, 0.2, 0.3)),)
    assert presets.pc_darts('imagenet').transforms == (PartialChannels(2),)
    assert presets.drnas_progressive('imagenet').schedule.shares == (6, 3)


def test_clips():
    assert presets.darts().gradient_clip_val == 5 and presets.darts().arc_gradient_clip_val is None
    assert presets.p_darts().arc_gradient_clip_val == presets.pc_darts('imagenet').arc_gradient_clip_val == 5


def test_every_base_has_a_recipe():
    assert set(RECIPES) == set(presets.BASES)
    assert Recipe().evaluator == {
        'max_epochs': 50,
        'lr': 0.025,
        'min_lr': 0.001,
        'momentum': 0.9,
        'weight_decay': 3e-4,
        'auxiliary': {'lr': 0.025, 'min_lr': 0.001, 'momentum': 0.9, 'weight_decay': 3e-4, 'gradient_clip_val': None},
    }


@pytest.mark.parametrize('name', presets.BASES)
def test_data_without_numbers_have_those_of_darts_in_the_bases_stages(name):
    base, other = recipe(name), recipe(name, 'other')
    kept = {field: getattr(base, field) for field in ('epochs', 'warmup', 'width', 'num_cells')}
    assert other == replace(recipe('darts'), **kept, dataset='other')
    found = presets.wcnas(name, 'other')
    assert (found.objective.trade_off, found.objective.hyperparameter_lr) == (1.0, 3e-4)
    assert (found.arc_learning_rate, found.arc_gradient_clip_val) == (3e-4, None)
    for axis in ('schedule', 'selection', 'transforms', 'relaxation'):
        assert getattr(found, axis) == getattr(presets.wcnas(name), axis)


def test_recipes_before_and_after_the_cost_reductions():
    """Table 9: half the epochs, or a ResNet-18 of its own; all else is the base's."""
    base = recipe('p_darts', 'cifar100')
    assert recipe('cr', 'cifar100', base='p_darts') == replace(base, epochs=12, warmup=4)
    assert recipe('ncr', 'cifar100', base='p_darts') == replace(base, auxiliary='resnet18')
    assert recipe('cr') == replace(recipe('darts'), epochs=25)
    own = recipe('darts').evaluator
    assert recipe('ncr').evaluator == {**own, 'auxiliary': {'name': 'resnet18', **own['auxiliary']}}
    with pytest.raises(ValueError, match="base=darts does nothing for 'pc_darts'"):
        recipe('pc_darts', base='darts')
    before, after = presets.ncr().objective, presets.cr().objective
    assert (before.every, before.decov, after.every, after.decov) == (1, 0.0, 8, 0.01)
    assert presets.ncr(every=4, decov=0.2).objective == WorstCase(every=4, decov=0.2)
    for preset in (presets.wcnas, presets.cr, presets.ncr):
        assert preset(objective=AverageCase()).objective == AverageCase()
        with pytest.raises(ValueError, match='decov=0.1 does nothing when objective is AverageCase'):
            preset(objective=AverageCase(), decov=0.1)


def test_what_is_not_known_is_said():
    with pytest.raises(ValueError, match="dataset is 'imagenet', and p_darts has numbers for cifar10, cifar100, other"):
        presets.p_darts('imagenet')
    with pytest.raises(ValueError, match="'wcnas' is not a preset with numbers of its own"):
        recipe('wcnas')


def _written(text):
    """The members in a cell of the table, made by the code that they are written in."""
    names = {name: getattr(wc, name) for name in wc.__all__}
    return {eval(code, names) for code in re.findall(r'`([A-Z][^`]*\))`', text) if '...' not in code}


def test_the_table_of_methods_says_what_the_presets_do():
    """Every preset of the registry has one row, with exactly the members in which it differs from DARTS."""
    rows = re.findall(r'^\| .+? \| `(\w+)` \| (.+?) \| .+? \| .+? \|$', METHODS, re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(list_options('preset'))
    for name, text in rows:
        members = differences(presets.PRESETS[name]())
        flat = {part for value in members.values() for part in (value if isinstance(value, tuple) else (value,))}
        assert {member for member in flat if type(member) is not WorstCase} == _written(text), name


def test_drnas_has_one_anchor():
    for preset in (presets.drnas, presets.drnas_progressive):
        assert (preset().relaxation.anchor, preset().arc_weight_decay) == ('l2', 1e-3)
        assert (preset(anchor='kl').relaxation.anchor, preset(anchor='kl').arc_weight_decay) == ('kl', 0.0)


def test_gdas_trains_its_architecture_as_published():
    """Adam with the published betas, rate and decay; first order."""
    search = presets.gdas('cifar100')
    assert (search.arc_learning_rate, search.arc_weight_decay, search.hypergradient) == (3e-4, 1e-3, FirstOrder())


def test_tuning_between_decisions():
    assert presets.darts_pt(tune_epochs=2).schedule == Projected(tune_epochs=2)
    with pytest.raises(ValueError, match='tune_epochs=2 does nothing when schedule is SingleStage'):
        presets.darts_pt(tune_epochs=2, schedule=SingleStage())
