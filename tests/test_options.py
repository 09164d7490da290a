"""The registry: every row makes something, is documented, and is on a page of the documentation."""

import inspect
from pathlib import Path

import pytest

import nni_wcnas as wc
from nni_wcnas.contracts import Hypergradient, Objective, Schedule, Selection, Smoothing, Transform, Weighting
from nni_wcnas.options import AXES, OPTIONS, build, list_options, option

KINDS = dict(zip(AXES, (Weighting, Objective, Hypergradient, Smoothing, Selection, Schedule)))
KINDS['transform'] = Transform
MEMBERS = [row for row in OPTIONS if row.axis in KINDS]
ROOT = Path(__file__).parents[1]
PAGES = '\n'.join(path.read_text() for path in [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))])


@pytest.mark.parametrize('row', MEMBERS, ids=lambda row: row.name)
def test_members_are_of_their_axis_final_values_and_evaluate_from_their_repr(row):
    member = build(row.axis, row.name)
    assert isinstance(member, KINDS[row.axis])
    assert eval(repr(member), vars(wc) | {name: getattr(wc, name) for name in wc.__all__}) == member
    assert hash(member) == hash(build(row.axis, row.name))
    with pytest.raises(AttributeError):
        member.anything = 1  # frozen: a strategy's members do not change under it
    assert f'`{type(member).__name__}' in PAGES, 'docs/methods.md lists every member'
    module = inspect.getmodule(row.factory)
    assert module.__doc__ and len(module.__doc__.splitlines()) > 0 and row.description and row.paper


@pytest.mark.parametrize('row', [row for row in OPTIONS if row.axis == 'preset'], ids=lambda row: row.name)
def test_presets_make_searches_and_take_overrides(row):
    assert isinstance(row.factory(), wc.Search)
    assert row.factory(gradient_clip_val=1.5).gradient_clip_val == 1.5
    assert row.factory(selection=wc.Magnitude(by='logit')).selection.by == 'logit'
    assert f'`{row.name}' in PAGES


@pytest.mark.parametrize('name', list_options('space'))
def test_spaces_have_a_file_and_are_on_the_page(name):
    assert f'`{name}`' in PAGES
    assert f'\nname: {name}\n' in (ROOT / 'search_spaces' / f'{name}.yml').read_text()


def test_names_are_unique_on_each_axis():
    assert len({(row.axis, row.name) for row in OPTIONS}) == len(OPTIONS)


def test_unknown_names_point_to_near_ones():
    with pytest.raises(ValueError, match="'SNGAN' is not a known tester; did you mean sn_gan?"):
        option('tester', 'SNGAN')
    with pytest.raises(ValueError, match="'unroled' is not a known hypergradient; did you mean unrolled"):
        option('hypergradient', 'unroled')
    with pytest.raises(ValueError, match="'zzz' is not a known space; there are darts, hub_darts"):
        option('space', 'zzz')
    with pytest.raises(ValueError, match="'colour' is not an axis"):
        list_options('colour')


def test_unknown_base_of_wcnas_is_refused():
    with pytest.raises(ValueError, match=f"base must be one of {', '.join(wc.presets.BASES)}, not 'enas'"):
        wc.presets.wcnas(base='enas')


def test_numbers_of_a_replaced_objective_are_refused():
    with pytest.raises(ValueError, match=r'trade_off=2.0 does nothing when objective is AverageCase\(every=1\)'):
        wc.presets.wcnas(trade_off=2.0, objective=wc.AverageCase())
    assert wc.presets.wcnas(objective=wc.AverageCase()).objective == wc.AverageCase()


def test_bases_hand_their_members_on():
    for base in wc.presets.BASES:
        strategy = wc.presets.wcnas(base=base)
        assert isinstance(strategy.objective, wc.WorstCase) and strategy.hypergradient == wc.Unrolled()
        assert strategy.gradient_clip_val == 5.0


def test_front_page_is_complete_and_documented():
    for name in wc.__all__:
        assert getattr(wc, name).__doc__, name
    assert set(dir(wc)) == set(wc.__all__)
    with pytest.raises(AttributeError, match='nothing_like_this'):
        wc.nothing_like_this  # noqa: B018
