"""Papers of a search: those of its members, each once, and of what they hold."""

import pytest

from nni_wcnas import Search, SkipCount, citation, presets
from nni_wcnas.options import OPTIONS
from nni_wcnas.schedule import HessianEigenvalue

PAPER = {row.name: row.paper for row in OPTIONS}


def test_of_a_worst_case_search_on_a_base():
    found = citation(presets.wcnas('pc_darts'))
    assert set(found) == {PAPER['average_case'], PAPER['worst_case'], PAPER['partial_channels']}
    assert len(found) == 3


def test_a_member_brings_what_it_holds():
    found = citation(Search(schedule=SkipCount(HessianEigenvalue())))
    assert {PAPER['skip_count'], PAPER['hessian_eigenvalue']} <= set(found)
    assert PAPER['hessian_eigenvalue'] not in citation(Search(schedule=SkipCount()))


@pytest.mark.parametrize('name', presets.PRESETS)
def test_of_every_preset(name):
    """Every member has a row, and so a paper."""
    found = citation(presets.PRESETS[name]())
    assert found and len(set(found)) == len(found)
