"""What the evaluator refuses before a search starts."""

import math

import pytest
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace

import nni_wcnas as wc
from nni_wcnas.data import Digits
from nni_wcnas.spaces.darts import DARTS


@pytest.fixture(scope='module')
def digits():
    return Digits(limit=60, batch_size=30)


@pytest.mark.parametrize(
    ('numbers', 'message'),
    [
        ({'max_epochs': 0}, 'max_epochs must be at least 1, not 0'),
        ({'lr': -1}, 'lr must be positive and finite, not -1'),
        ({'lr': math.inf}, 'lr must be positive and finite, not inf'),
        ({'min_lr': 9}, 'min_lr must lie between 0 and lr=0.025, not 9'),
        ({'min_lr': math.nan}, 'min_lr must lie between'),
        ({'momentum': 1.0}, 'momentum must be 0 or more and below 1, not 1.0'),
        ({'weight_decay': math.nan}, 'weight_decay must be 0 or more and finite, not nan'),
    ],
)
def test_numbers_out_of_range(digits, numbers, message):
    with pytest.raises(ValueError, match=message):
        wc.SearchEvaluator(digits, **numbers)


def test_a_space_with_fewer_classes_than_the_data(digits):
    evaluator = wc.SearchEvaluator(digits, max_epochs=1, accelerator='cpu', enable_progress_bar=False)
    space = RawFormatModelSpace.from_model(DARTS(width=4, num_cells=3, num_classes=7), evaluator)
    with pytest.raises(ValueError, match='tells 7 classes apart and the data have 10: make it with num_classes=10'):
        wc.presets.darts()(space, SequentialExecutionEngine())


def test_an_auxiliary_model_by_a_map(digits):
    """As a recipe gives it; also to the tester that a search brings."""
    numbers = wc.recipe('pc_darts', 'cifar100').evaluator
    evaluator = wc.SearchEvaluator(digits, accelerator='cpu', **numbers)
    assert evaluator.module.auxiliary is None
    evaluator.bring_tester(has_auxiliary=True, learner=10_000)
    (named,) = evaluator.module.auxiliary.optimizers(50)
    group = named.optimizer.param_groups[0]
    assert (group['lr'], group['momentum'], group['weight_decay'], named.scheduler.eta_min) == (0.1, 0.9, 3e-4, 0.0)
    tester = wc.AugmentationPolicy(10, image_size=16)
    own = wc.SearchEvaluator(digits, tester=tester, auxiliary={'name': 'test_resnet', 'lr': 0.2}, accelerator='cpu')
    (named,) = own.module.auxiliary.optimizers(1)
    assert named.optimizer.param_groups[0]['lr'] == 0.2
    with pytest.raises(ValueError, match="no argument 'rate'"):
        wc.SearchEvaluator(digits, tester=tester, auxiliary={'rate': 0.2}, accelerator='cpu')
