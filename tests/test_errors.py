"""Errors keep their parts, and their parts make the sentence."""

from __future__ import annotations

import pickle

import pytest

from nni_wcnas.data import Digits
from nni_wcnas.data.error import DataArgumentError, DataError
from nni_wcnas.errors import DivergedError, InvalidArgument, InvalidFile
from nni_wcnas.objective import WorstCase


def test_factories_tell_the_argument() -> None:
    with pytest.raises(InvalidArgument) as caught:
        WorstCase(every=0)
    assert (caught.value.name, caught.value.value, caught.value.remedy) == ('every', 0, 'be at least 1 batch')
    with pytest.raises(DataError) as refused:
        Digits(batch_size=1)
    assert isinstance(refused.value, DataArgumentError) and refused.value.name == 'batch_size'


@pytest.mark.parametrize(
    ('error', 'sentence', 'predicate'),
    [
        (InvalidArgument('k', 'a', 'be 1'), "k must be 1, not 'a'", "must be 1, not 'a'"),
        (InvalidArgument('k', 2, 'take 1', reason='is odd'), 'k=2 is odd; take 1', 'is odd; take 1'),
        (InvalidFile('pretrained', 'f.pt', 'copy it', reason='is cut'), 'f.pt is cut; copy it', 'is cut; copy it'),
        (DataArgumentError('limit', 3, 'be 4'), 'limit must be 4, not 3', 'must be 4, not 3'),
    ],
)
def test_sentences(error: InvalidArgument, sentence: str, predicate: str) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert str(error) == str(again) == sentence and error.predicate == again.predicate == predicate
    assert type(again) is type(error) and vars(again) == vars(error)


def test_divergence() -> None:
    again = pickle.loads(pickle.dumps(DivergedError('the loss is nan', 'lower lr', 'auxiliary')))
    assert str(again) == 'the loss is nan; lower lr' and again.network == 'auxiliary'
