"""A search with the fast cell finds what a search with the plain one finds."""

import pytest
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace

import nni_wcnas as wc


def searched(preset, **arguments):
    """The sample and the logits after three epochs on digits.

    In float64: Adam's first steps have the size of the learning rate whatever that of the gradient, so the sign of a
    gradient that rounds to zero decides between operations as good as each other.
    """
    torch.manual_seed(0)
    space = wc.spaces.DARTS(width=4, num_cells=3)
    tester = wc.FQGAN(10, image_size=16, width=8, dictionary_size=16) if preset == 'wcnas' else None
    data = wc.data.Digits(limit=40, batch_size=10)
    quiet = {'accelerator': 'cpu', 'enable_progress_bar': False}
    evaluator = wc.SearchEvaluator(data, tester=tester, max_epochs=3, precision='64-true', **quiet)
    strategy = wc.presets.PRESETS[preset](arc_learning_rate=0.01, **arguments)
    strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())
    alphas = torch.cat([alpha.detach().flatten() for alpha in strategy.oneshot_module.arch_parameters()])
    return dict(next(strategy.list_models()).sample), alphas


@pytest.mark.parametrize('preset', ['darts', pytest.param('wcnas', marks=pytest.mark.slow)])
def test_same_cell(preset):
    (fast, mine), (plain, theirs) = searched(preset), searched(preset, fast_cell=False)
    assert fast == plain
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-7)
    assert not torch.equal(mine, theirs), 'the fast cell was not used'
