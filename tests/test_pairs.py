"""Composition: every pair of members over all axes trains, or is refused with both names."""

from itertools import combinations, product

import pytest
from allpairspy import AllPairs
from worst_case_search import QUIET, run

import nni_wcnas as wc

AXES = {
    'relaxation': (
        wc.Softmax(),
        wc.GumbelSoftmax(),
        wc.GumbelSoftmax(hard=True),
        wc.Dirichlet(),
        wc.Dirichlet(anchor='kl'),
        wc.HardConcrete(),
    ),
    'objective': (
        wc.AverageCase(),
        wc.SelfPaced(),
        wc.SynthesizedValidation(real_share=0.5),
        wc.InstanceHardness('thompson'),
        wc.ConditionalValueAtRisk(),
        wc.GroupWorstCase(),
        wc.SaliencyAware(every=2, saliency_every=2, steps=1),
        wc.SelectedExamples(pairs=64, every=1),
        wc.WorstCase(every=1),
        wc.WorstCase(every=1, reuse_gradient=True),
        wc.WorstCase(every=1, trade_off=0.5),  # with a policy: see _parts
    ),
    'hypergradient': (wc.FirstOrder(), wc.Unrolled(), wc.Unrolled(by='finite_difference')),
    'smoothing': (wc.NoSmoothing(), wc.RandomSmoothing(), wc.AdversarialSmoothing(steps=1)),
    'selection': (wc.Magnitude(), wc.Magnitude(by='logit'), wc.TopPairs(), wc.MaxSkips(wc.TopPairs(), limit=1)),
    'schedule': (
        wc.SingleStage(),
        wc.Progressive((2,), num_cells=(3, 4)),
        wc.Progressive((2,), shares=(4, 2), is_fresh=False),
        wc.Projected(tune_epochs=1),
        wc.SkipCount(wc.Progressive((3, 2))),
        wc.HessianEigenvalue(every=1),
    ),
    'transforms': (
        (),
        (wc.PartialChannels(k=2),),
        (wc.AuxiliarySkip(), wc.SkipDropout(initial=0.3)),
        (wc.SkipDropout(initial=0.3), wc.PartialChannels(k=4, edge_normalization=False)),
    ),
    'fast_cell': (True, False),
    'recompute_cells': (False, True),
}


def is_refused(one, other):
    """Whether two values of an axis contradict each other, as their documentation says."""
    for first, second in ((one, other), (other, one)):
        if isinstance(first, wc.Dirichlet) and isinstance(second, wc.HessianEigenvalue):
            return True
        if getattr(first, 'is_sparse', False) and isinstance(
            second, wc.RandomSmoothing | wc.AdversarialSmoothing | wc.Projected
        ):
            return True
        if getattr(first, 'reuse_gradient', False) and (
            second == wc.FirstOrder() or isinstance(second, wc.RandomSmoothing | wc.AdversarialSmoothing)
        ):
            return True
        if isinstance(first, wc.Progressive) and first.shares and isinstance(second, tuple):
            return first.shares[0] not in [getattr(part, 'k', None) for part in second]
    return False


def _is_allowed(row):
    """Of a row, or of its beginning."""
    return not any(is_refused(one, other) for one, other in combinations(row, 2))


def _rows():
    """Rows that hold every allowed pair: a generator's, which gives up on some pairs, and one for each of these."""
    rows = [tuple(row) for row in AllPairs(list(AXES.values()), filter_func=_is_allowed)]
    values = [(axis, value) for axis, group in enumerate(AXES.values()) for value in group]
    for (first, one), (second, other) in combinations(values, 2):
        wanted = first != second and not is_refused(one, other)
        if wanted and not any((row[first], row[second]) == (one, other) for row in rows):
            groups = list(AXES.values())
            groups[first], groups[second] = (one,), (other,)
            rows.append(next(row for row in product(*groups) if _is_allowed(row)))
    return rows


ROWS = _rows()


@pytest.mark.parametrize('row', ROWS, ids=range(len(ROWS)))
def test_trains(row):
    """Two steps an epoch and the found cell, in a space of two nodes."""
    strategy = wc.Search(**dict(zip(AXES, row)))
    run(strategy, make=lambda: _parts(has_policy=getattr(strategy.objective, 'trade_off', 1.0) == 0.5))
    assert len(next(strategy.list_models()).sample) == 16


def _parts(has_policy):
    import torch

    torch.manual_seed(0)
    data = wc.data.Digits(batch_size=10, limit=40)
    space = wc.spaces.DARTS(
        width=8, num_cells=3, num_nodes=2, operations=('none', 'max_pool_3x3', 'skip_connect', 'sep_conv_3x3')
    )
    if has_policy:
        return space, wc.SearchEvaluator(data, auxiliary='test_resnet', max_epochs=1, **QUIET)
    tester = wc.FQGAN(10, image_size=16, width=4, latent=8, dictionary_size=8, ema_start=1)
    return space, wc.SearchEvaluator(data, tester=tester, max_epochs=1, **QUIET)


NEUTRAL = {axis: group[0] for axis, group in AXES.items()}
REFUSED = [
    {first: one, second: other}
    for (first, group), (second, others) in combinations(AXES.items(), 2)
    for one in group
    for other in others
    if is_refused(one, other)
]


@pytest.mark.parametrize('pair', REFUSED, ids=range(len(REFUSED)))
def test_is_refused_with_both_names(pair):
    """The names of the members, or of the argument that is missing."""
    one, other = pair.values()
    arguments = {**NEUTRAL, **pair}
    if getattr(arguments['objective'], 'reuse_gradient', False) and 'hypergradient' not in pair:
        arguments['hypergradient'] = wc.Unrolled()
    with pytest.raises(ValueError) as caught:
        wc.Search(**arguments)
    assert type(one).__name__ in str(caught.value)
    name = 'PartialChannels' if 'transforms' in pair else type(other).__name__
    assert name in str(caught.value)
