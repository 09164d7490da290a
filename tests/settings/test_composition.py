"""Members that hold members, lists of transforms, and the papers' numbers, as settings files spell them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nni_wcnas import (
    AuxiliarySkip,
    ConditionalValueAtRisk,
    GroupWorstCase,
    GumbelSoftmax,
    MaxSkips,
    PartialChannels,
    Progressive,
    Projected,
    SkipCount,
    TopPairs,
)
from nni_wcnas.settings import assembly
from nni_wcnas.settings.problems import SettingsError
from nni_wcnas.settings.resolved import differing_key, resolved
from nni_wcnas.settings.schema import Settings
from nni_wcnas.settings.settings import load_settings


def load(tmp_path: Path, method: Any, **sections: Any) -> Settings:
    """Settings with a method and other sections."""
    sections = {'data': 'digits', 'space': {'name': 'darts', 'width': 4, 'num_cells': 3}, **sections}
    (tmp_path / 's.yml').write_text(yaml.safe_dump({'method': method, **sections}))
    return load_settings(tmp_path / 's.yml')


def complaints(tmp_path: Path, method: Any, **sections: Any) -> list[str]:
    """What is wrong, without file and line."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, method, **sections)
    return [f'{problem.key}: {problem.message}' for problem in caught.value.problems]


NESTED = {
    'schedule': {'name': 'skip_count', 'limit': 4, 'inner': {'name': 'progressive', 'operations': [4]}},
    'selection': {'name': 'max_skips', 'inner': 'top_pairs'},
    'transforms': [{'name': 'partial_channels', 'k': 2}, 'auxiliary_skip'],
}


def test_members_in_members(tmp_path: Path) -> None:
    """The search section's lengths reach the innermost schedule."""
    settings = load(tmp_path, NESTED, search={'epochs': 3, 'warmup': 1})
    strategy = assembly.make_strategy(settings)
    assert strategy.schedule == SkipCount(Progressive((4,), epochs=3, warmup=1), limit=4)
    assert strategy.selection == MaxSkips(TopPairs())
    assert strategy.transforms == (PartialChannels(k=2), AuxiliarySkip())


def test_one_operation_on_an_edge(tmp_path: Path) -> None:
    """As a relaxation of any method, and as a base of others; resolved, the draw is named."""
    hard = GumbelSoftmax(hard=True)
    written = {'relaxation': {'name': 'gumbel_softmax', 'hard': True}}
    for method in (written, 'gdas', {'preset': 'spcl', 'base': 'gdas'}):
        assert assembly.make_strategy(load(tmp_path, method)).relaxation == hard
    assert resolved(load(tmp_path, written))['method']['relaxation'] == {
        'name': 'gumbel_softmax', 'initial_temperature': 10.0, 'final_temperature': 0.1, 'hard': True
    }
    (line,) = complaints(tmp_path, {'preset': 'gdas', 'smoothing': 'random_smoothing'})
    assert 'RandomSmoothing perturbs a mixture of operations' in line


def test_resolved_names_their_numbers_and_is_a_settings_file(tmp_path: Path) -> None:
    """Lengths, which are the search's, excepted."""
    everything = resolved(load(tmp_path, NESTED))
    assert everything['method']['selection'] == {'name': 'max_skips', 'limit': 2, 'inner': {'name': 'top_pairs'}}
    assert everything['method']['schedule']['inner'] == {'name': 'progressive', 'operations': [4], 'is_fresh': True}
    assert everything['method']['transforms'][1] == {'name': 'auxiliary_skip', 'initial': 1.0, 'decay': 'linear'}
    (tmp_path / 'again.yml').write_text(yaml.safe_dump(everything))
    assert differing_key(everything, resolved(load_settings(tmp_path / 'again.yml'))) is None


def test_lengths_of_an_inner_schedule(tmp_path: Path) -> None:
    """They are the search's, and told when they differ."""
    method = {'schedule': {'name': 'skip_count', 'inner': {'name': 'projected', 'epochs': 4}}}
    assert load(tmp_path, method).search.epochs == 4
    assert complaints(tmp_path, method, search={'epochs': 5}) == [
        'method.schedule.inner.epochs: is 4 here and 5 in search.epochs; keep one of them'
    ]


def test_objectives_of_the_worst_share_and_of_groups(tmp_path: Path) -> None:
    """Groups by a file beside the settings, whoever reads them from where, or written down."""
    np.save(tmp_path / 'groups.npy', np.arange(1433) % 7)
    (tmp_path / 'groups.txt').write_text('3\n' * 1433)
    for section, expected in (
        ('conditional_value_at_risk', ConditionalValueAtRisk()),
        ({'name': 'conditional_value_at_risk', 'share': 0.1, 'every': 2}, ConditionalValueAtRisk(0.1, 2)),
        ('group_worst_case', GroupWorstCase()),
        ({'name': 'group_worst_case', 'step_size': 0.2}, GroupWorstCase(0.2)),
        ({'name': 'group_worst_case', 'groups': 'groups.npy'}, GroupWorstCase(groups=str(tmp_path / 'groups.npy'))),
        ({'name': 'group_worst_case', 'groups': 'groups.txt'}, GroupWorstCase(groups=str(tmp_path / 'groups.txt'))),
        ({'name': 'group_worst_case', 'groups': [0, 1] * 716 + [1]}, GroupWorstCase(groups=(0, 1) * 716 + (1,))),
    ):
        settings = load(tmp_path, {'preset': 'darts', 'objective': section})
        assert assembly.make_strategy(settings).objective == expected
        (tmp_path / 'again.yml').write_text(yaml.safe_dump(resolved(settings)))
        assert differing_key(resolved(settings), resolved(load_settings(tmp_path / 'again.yml'))) is None


@pytest.mark.parametrize(
    ('section', 'expected'),
    [
        ({'name': 'conditional_value_at_risk', 'share': 0.0}, 'share: share must be above 0 and at most 1, not 0.0'),
        ({'name': 'conditional_value_at_risk', 'shar': 0.1}, 'shar: is not a known key here; did you mean share?'),
        ({'name': 'group_worst_case', 'step_size': -1.0}, 'step_size: step_size must be positive and finite, not -1'),
        ({'name': 'group_worst_case', 'groups': 'no.npy'}, '/no.npy does not exist; pass the path of a .npy'),
        ({'name': 'group_worst_case', 'groups': [0, 1]}, 'groups: groups must be one number for each of'),
    ],
)
def test_mistakes_of_objectives(tmp_path: Path, section: Any, expected: str) -> None:
    (line,) = complaints(tmp_path, {'preset': 'darts', 'objective': section})
    assert line.startswith('method.objective.') and expected in line, line


@pytest.mark.parametrize(
    ('method', 'expected'),
    [
        ({'selection': {'name': 'max_skips', 'inner': 'top_pair'}}, "inner.name: 'top_pair' is not a known selection"),
        ({'selection': {'name': 'max_skips', 'inner': 3}}, 'inner: must be a name or a map with a name, not 3'),
        ({'selection': {'name': 'max_skips', 'limit': -1}}, 'method.selection.limit: limit must be 0 or more'),
        ({'schedule': {'name': 'skip_count', 'inner': {'name': 'progressive', 'operation': [3]}}},
         'method.schedule.inner.operation: is not a known key here; did you mean operations?'),
        ({'transforms': 3}, 'method.transforms: must be a list of names or maps, not 3'),
        ({'transforms': ['skip_dropout', {'name': 'partial_channels', 'kk': 2}]},
         'method.transforms.1.kk: is not a known key here; did you mean k?'),
        ({'transforms': [{'name': 'partial_channels', 'k': 0}]}, 'method.transforms.0.k: k must be at least 1'),
        ({'transforms': ['skip_dropout', 'skip_dropout']}, 'method.transforms: transforms='),
        ({'preset': 'darts', 'dataset': 'imagenet'}, "method.dataset: dataset is 'imagenet', and darts has"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, method: Any, expected: str) -> None:
    """Each names the key it is in."""
    lines = complaints(tmp_path, method)
    assert len(lines) == 1 and expected in lines[0], lines


def test_the_papers_numbers_fill_what_is_not_written(tmp_path: Path) -> None:
    """Of the preset, on its data set; a warm-up keeps its share of other epochs."""
    settings = load(tmp_path, {'preset': 'pc_darts', 'dataset': 'cifar10'}, space='darts')
    assert (settings.search.epochs, settings.search.warmup, settings.search.lr) == (50, 15, 0.1)
    assert settings.data['batch_size'] == 256 and settings.space['num_cells'] == 8
    settings = load(tmp_path, 'pc_darts', space='darts')  # DARTS's for digits, in its own stages.
    assert (settings.search.epochs, settings.search.warmup, settings.search.lr) == (50, 15, 0.025)
    assert settings.data['batch_size'] == 64 and settings.space['num_cells'] == 8
    eight = {'name': 'darts', 'width': 8}
    shorter = load(tmp_path, 'pc_darts', space=eight, data={'name': 'digits', 'batch_size': 32}, search={'epochs': 10})
    assert (shorter.search.epochs, shorter.search.warmup, shorter.data['batch_size']) == (10, 3, 32)
    written = load(tmp_path, 'pc_darts', space=eight, search={'epochs': 10, 'warmup': 0, 'lr': 0.2})
    assert (written.search.warmup, written.search.lr) == (0, 0.2)
    wide = load(tmp_path, 'drnas_progressive', space={'name': 'darts', 'num_cells': 5})
    assert (wide.space['width'], wide.space['num_cells']) == (36, 5)
    other = load(tmp_path, 'drnas_progressive', space={'name': 'nasbench201', 'width': 12})
    assert 'num_cells' not in other.space


def test_the_data_set_chooses_the_numbers(tmp_path: Path) -> None:
    """CIFAR-100's are those of its table; whoever wrote another name gets that."""
    folder = {'name': 'cifar100', 'root': str(tmp_path)}
    (tmp_path / 's.yml').write_text(yaml.safe_dump({'method': {'preset': 'wcnas', 'base': 'pc_darts'}, 'data': folder,
                                                    'space': 'darts', 'tester': 'fq_gan'}))  # fmt: skip
    settings = load_settings(tmp_path / 's.yml', build=())
    assert settings.method['dataset'] == 'cifar100'
    assert assembly.make_strategy(settings).objective.trade_off == 0.1
    assert resolved(settings)['method']['trade_off'] == 0.1
    settings = load_settings(tmp_path / 's.yml', ['method.dataset=imagenet'], build=())
    assert settings.data['batch_size'] == 768 and assembly.make_strategy(settings).arc_learning_rate == 6e-3


def test_a_proposed_preset_brings_its_own_numbers(tmp_path: Path) -> None:
    """The tuner's choice, not the file's, is filled in."""
    load(tmp_path, {'preset': 'darts', 'dataset': 'cifar10'})
    settings = load_settings(tmp_path / 's.yml', (), {'method': {'_name': 'p_darts'}})
    assert settings.data['batch_size'] == 96 and settings.search.epochs == 25
    assert assembly.make_strategy(settings).schedule == Progressive((5, 3), (5, 11, 17), epochs=25, warmup=10)


def test_a_tuner_proposes_members_of_a_preset(tmp_path: Path) -> None:
    """With their arguments, in the place of the file's."""
    load(tmp_path, {'preset': 'darts', 'schedule': {'name': 'skip_count', 'limit': 4}})
    member = {'_name': 'projected', 'tune_epochs': 1}
    settings = load_settings(tmp_path / 's.yml', (), {'method': {'_name': 'darts_pt', 'schedule': member}})
    assert settings.method['schedule'] == {'name': 'projected', 'tune_epochs': 1}
    assert assembly.make_strategy(settings).schedule == Projected(epochs=50, tune_epochs=1)


@pytest.mark.parametrize(
    ('method', 'space', 'expected'),
    [
        ('drnas_progressive', {'name': 'darts', 'width': 16}, 'PartialChannels(k=6) cannot split 16 channels'),
        ({'schedule': {'name': 'progressive', 'operations': [4], 'shares': [4, 3], 'is_fresh': False},
          'transforms': ['partial_channels']}, {'name': 'darts', 'width': 8}, 'PartialChannels(k=3) cannot split 8'),
        ({'schedule': {'name': 'progressive', 'operations': [4]}}, {'name': 'hub_darts', 'width': 8},
         'Progressive builds the space again for each of its stages, which DARTS cannot be'),
        ('pc_darts', {'name': 'hub_pnas', 'width': [8, 16]}, 'needs a width that is given, and that of this space is'),
        ('darts', {'name': 'hub_darts', 'num_cells': [3, 4]}, 'num_cells=[3, 4] is a list, and a supernet of'),
    ],
)  # fmt: skip
def test_what_a_space_cannot_have(tmp_path: Path, method: Any, space: Any, expected: str) -> None:
    """Said before anything is built, of every stage."""
    (line,) = complaints(tmp_path, method, space=space)
    assert line.startswith(('method', 'space.num_cells')) and expected in line


@pytest.mark.parametrize(
    'method',
    ['r_darts', 'wcnas', {'hypergradient': {'name': 'unrolled', 'by': 'exact'}}, {'hypergradient': 'unrolled'},
     {'hypergradient': {'name': 'unrolled', 'by': 'finite_difference', 'radius': 0.1}}],
    ids=str,
)  # fmt: skip
def test_second_derivatives_in_a_space_with_hard_swish(tmp_path: Path, method: Any) -> None:
    """Nothing of it is refused."""
    settings = load(tmp_path, method, space='mobilenetv3', **({'tester': 'fq_gan'} if method == 'wcnas' else {}))
    assert assembly.make_strategy(settings).hypergradient.unrolls


def test_a_radius_without_a_perturbation(tmp_path: Path) -> None:
    """The default is exact."""
    (line,) = complaints(tmp_path, {'hypergradient': {'name': 'unrolled', 'radius': 0.1}})
    assert line.startswith("method.hypergradient.radius: radius=0.1 does nothing with by='exact'"), line


def test_drnas_in_its_own_space(tmp_path: Path) -> None:
    """The file leaves the size to the method."""
    file = Path(__file__).parents[2] / 'search_spaces' / 'darts_seven.yml'
    settings = load(tmp_path, 'drnas_progressive', space=str(file))
    assert (settings.space['width'], settings.space['num_cells'], len(settings.space['operations'])) == (36, 20, 7)
    assert load(tmp_path, 'darts', space=str(file)).space['width'] == 16


def test_arguments_of_a_base(tmp_path: Path) -> None:
    """A preset on a base takes them too."""
    settings = load(tmp_path, {'preset': 'spcl', 'base': 'darts_pt', 'tune_epochs': 2})
    assert assembly.make_strategy(settings).schedule == Projected(epochs=50, tune_epochs=2)
    assert "'tune_epoch' is not" not in complaints(tmp_path, {'preset': 'spcl', 'base': 'darts_pt', 'tune_epoch': 2})[0]
