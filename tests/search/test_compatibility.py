"""Every refusal of members that cannot work together, by its sentence."""

from typing import Any

import pytest
from nni.nas.hub.pytorch import NasBench201

from nni_wcnas import Search, SingleStage, Unrolled, WorstCase
from nni_wcnas.contracts import Smoothing, Transform
from nni_wcnas.relaxation import Dirichlet, GumbelSoftmax, HardConcrete
from nni_wcnas.schedule import HessianEigenvalue, Progressive, Projected, SkipCount
from nni_wcnas.search.compatibility import why_uncompiled
from nni_wcnas.spaces import DARTS
from nni_wcnas.transform import AuxiliarySkip, PartialChannels, SkipDropout

DIFFERENCE = Unrolled(by='finite_difference')


class Shifted(Smoothing):
    """Perturbs, but leaves all as it is."""

    def perturbed(self, weights, loss, moment):
        """Nothing else."""
        del weights, loss, moment


class AnotherExtra(Transform):
    """Adds an operation, as the auxiliary skip does."""

    extra = 'max_pool_3x3'


SENTENCES: list[tuple[dict[str, Any], str]] = [
    (
        {'relaxation': Dirichlet(), 'schedule': HessianEigenvalue()},
        'Dirichlet has no second derivatives, of which HessianEigenvalue makes a Hessian: use relaxation=Softmax() or '
        'another schedule',
    ),
    (
        {'relaxation': Dirichlet(), 'schedule': SkipCount(HessianEigenvalue())},
        'Dirichlet has no second derivatives, of which SkipCount makes a Hessian: use relaxation=Softmax() or another '
        'schedule',
    ),
    (
        {'relaxation': HardConcrete(), 'smoothing': Shifted()},
        'Shifted perturbs mixing weights that add up to 1, and those of HardConcrete do not: use '
        'smoothing=NoSmoothing() or another relaxation',
    ),
    (
        {'relaxation': GumbelSoftmax(hard=True), 'smoothing': Shifted()},
        'Shifted perturbs a mixture of operations, and GumbelSoftmax(initial_temperature=10.0, final_temperature=0.1, '
        'hard=True) leaves each edge the one that it draws: use smoothing=NoSmoothing() or another relaxation',
    ),
    (
        {'relaxation': GumbelSoftmax(hard=True), 'schedule': SkipCount(Projected())},
        'SkipCount compares operations by what their removal costs, which is nothing for all that '
        'GumbelSoftmax(initial_temperature=10.0, final_temperature=0.1, hard=True) has not drawn: use '
        'relaxation=Softmax() or another schedule',
    ),
    (
        {
            'smoothing': Shifted(),
            'objective': WorstCase(reuse_gradient=True),
            'hypergradient': Unrolled(),
        },
        'WorstCase reuses a gradient that knows nothing of the perturbation of Shifted: use reuse_gradient=False',
    ),
    (
        {'objective': WorstCase(reuse_gradient=True)},
        'WorstCase wants to reuse the gradient of the lookahead, but FirstOrder makes none: use '
        'hypergradient=Unrolled() or reuse_gradient=False',
    ),
    (
        {'schedule': Progressive((4,), shares=(6, 4), is_fresh=False)},
        'Progressive changes the share of PartialChannels, which is not among the transforms: add '
        'transforms=(PartialChannels(k=6),)',
    ),
    (
        {'schedule': SkipCount(Progressive((4,), shares=(6, 4)))},
        'SkipCount changes the share of PartialChannels, which is not among the transforms: add '
        'transforms=(PartialChannels(k=6),)',
    ),
    (
        {'transforms': (SkipDropout(), PartialChannels(), SkipDropout(0.1))},
        "transforms=['SkipDropout', 'PartialChannels', 'SkipDropout'] holds SkipDropout twice; keep one of them",
    ),
    (
        {'transforms': (AnotherExtra(), AuxiliarySkip())},
        'AnotherExtra and AuxiliarySkip both add an operation to each edge; keep one of them',
    ),
]


@pytest.mark.parametrize(('members', 'sentence'), SENTENCES)
def test_members_that_contradict_each_other(members, sentence):
    with pytest.raises(ValueError) as refusal:
        Search(**members)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize('strange', [AuxiliarySkip, 'partial_channels', SingleStage()], ids=str)
def test_what_is_no_transform(strange):
    """A class in the place of its instance, a name, a member of an axis."""
    with pytest.raises(TypeError) as refusal:
        Search(transforms=(PartialChannels(), strange))
    assert str(refusal.value) == f'transforms must be edge transforms (see `nni-wcnas options`), not {strange!r}'


@pytest.mark.parametrize(
    'members',
    [
        {'relaxation': Dirichlet(), 'hypergradient': Unrolled()},
        {'relaxation': Dirichlet(anchor='kl'), 'hypergradient': DIFFERENCE},
        {'relaxation': GumbelSoftmax(), 'hypergradient': Unrolled()},
        {'relaxation': GumbelSoftmax(), 'schedule': HessianEigenvalue(), 'smoothing': Shifted()},
        {'relaxation': GumbelSoftmax(hard=True), 'hypergradient': Unrolled()},
        {'relaxation': GumbelSoftmax(hard=True), 'hypergradient': DIFFERENCE, 'schedule': HessianEigenvalue()},
        {'relaxation': GumbelSoftmax(hard=True), 'transforms': (PartialChannels(), AuxiliarySkip())},
        {'relaxation': GumbelSoftmax(), 'schedule': Projected()},
        {'objective': WorstCase(reuse_gradient=True), 'hypergradient': Unrolled()},
        {'objective': WorstCase(), 'smoothing': Shifted()},
        {'schedule': Progressive((4,), shares=(6, 4), is_fresh=False), 'transforms': (PartialChannels(6),)},
        {'transforms': (AuxiliarySkip(), PartialChannels(), SkipDropout())},
    ],
    ids=lambda members: '-'.join(type(member).__name__ for member in members.values()),
)
def test_members_that_agree(members):
    search = Search(**members)
    assert all(getattr(search, axis) == member for axis, member in members.items())


@pytest.mark.parametrize(
    ('members', 'sentence'),
    [
        ({'recompute_cells': True}, 'recompute_cells=True acts on cells, and this space has none; leave it out'),
        ({'compile': True}, 'compile=True acts on cells, and this space has none; leave it out'),
        (
            {'relaxation': HardConcrete()},
            'HardConcrete acts on cells, and this space has none: leave relaxation out',
        ),
        ({'schedule': Projected()}, 'Projected acts on cells, and this space has none: leave schedule out'),
        ({'schedule': Progressive()}, 'Progressive acts on cells, and this space has none: leave schedule out'),
        ({'schedule': SkipCount()}, 'SkipCount acts on cells, and this space has none: leave schedule out'),
        (
            {'schedule': HessianEigenvalue(Projected())},
            'HessianEigenvalue acts on cells, and this space has none: leave schedule out',
        ),
        (
            {'transforms': (SkipDropout(), AuxiliarySkip())},
            'SkipDropout acts on cells, and this space has none: leave transforms out',
        ),
    ],
)
def test_spaces_without_cells(members, sentence):
    with pytest.raises(ValueError) as refusal:
        Search(**members).mutate_model(_without_cells())
    assert str(refusal.value) == sentence


def _without_cells() -> NasBench201:
    return NasBench201(4, 1)


def test_spaces_without_cells_take_what_needs_none():
    members = {'relaxation': GumbelSoftmax(), 'smoothing': Shifted(), 'schedule': HessianEigenvalue()}
    assert Search(**members).mutate_model(_without_cells()).simplify()
    assert Search(relaxation=GumbelSoftmax(hard=True)).mutate_model(_without_cells()).simplify()


@pytest.mark.parametrize(
    ('members', 'reason'),
    [
        ({}, None),
        ({'hypergradient': DIFFERENCE, 'transforms': (PartialChannels(), AuxiliarySkip())}, None),
        (
            {'hypergradient': Unrolled()},
            "Unrolled(by='exact') takes second derivatives, which compiled cells have not",
        ),
        (
            {'schedule': HessianEigenvalue()},
            'HessianEigenvalue takes second derivatives, which compiled cells have not',
        ),
        (
            {'transforms': (PartialChannels(), SkipDropout())},
            'SkipDropout changes them from epoch to epoch, and each change would be compiled',
        ),
    ],
    ids=str,
)
def test_why_cells_are_not_compiled(members, reason):
    assert why_uncompiled(Search(**members).members) == reason


def test_fast_cells_need_channels_last():
    with pytest.raises(ValueError) as refusal:
        Search(fast_cell=True, channels_last=False)
    assert str(refusal.value) == 'fast_cell=True needs channels_last=True; leave one of them out'


@pytest.mark.parametrize('schedule', [Progressive((2,)), Progressive((2,), num_cells=(4, 5))], ids=['fresh', 'deeper'])
def test_spaces_that_cannot_be_built_again_are_refused_before_the_first_stage(search, schedule):
    class Foreign(DARTS):
        """A space that does not say what it was made of."""

        def __init__(self):
            super().__init__(width=4, num_cells=3, operations=('skip_connect', 'max_pool_3x3', 'none'))
            del self._arguments

    with pytest.raises(ValueError) as refusal:
        search(Search(schedule=schedule), Foreign())
    assert str(refusal.value) == (
        'Progressive builds the space again for each of its stages, which Foreign cannot be: use one of the spaces of '
        'nni_wcnas'
    )
