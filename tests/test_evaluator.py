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
        ({'learning_rate': -1}, 'learning_rate must be positive and finite, not -1'),
        ({'learning_rate': math.inf}, 'learning_rate must be positive and finite, not inf'),
        ({'min_learning_rate': 9}, 'min_learning_rate must lie between 0 and learning_rate=0.025, not 9'),
        ({'min_learning_rate': math.nan}, 'min_learning_rate must lie between'),
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
