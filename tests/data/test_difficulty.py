"""Difficulty from files, against values worked out by hand."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from nni_wcnas.data import DataError, hardest, load_difficulty

LABELS = torch.tensor([0, 1, 1])


@pytest.fixture
def saved(tmp_path):
    def save(values):
        path = tmp_path / 'table.npy'
        np.save(path, np.array(values))
        return path

    return save


def test_scores_are_taken_as_they_are(saved):
    assert load_difficulty(saved([0.5, -2.0, 3.0]), LABELS).values.tolist() == [0.5, -2.0, 3.0]


def test_votes(saved):
    scores = load_difficulty(saved([[3, 1], [5, 0], [0, 9]]), LABELS, kind='votes')
    assert scores.values.tolist() == [0.25, 1.0, 0.0]
    assert re.fullmatch('votes of table.npy [0-9a-f]{16}', scores.source)
    assert scores.hardest(torch.tensor([0, 2]), 0.5).tolist() == [0]


def test_agreement(saved):
    path = saved([4, 1, 0])
    assert load_difficulty(path, LABELS, kind='agreement').values.tolist() == [0.0, 0.75, 1.0]
    assert load_difficulty(path, LABELS, kind='agreement', models=8).values.tolist() == [0.5, 0.875, 1.0]


def test_indices_are_exactly_the_hard_ones(saved, tmp_path):
    labels = torch.zeros(7, dtype=torch.long)
    text = tmp_path / 'hard.txt'
    text.write_text('6\n\n2\n3\n')
    found = [load_difficulty(path, labels, kind='indices') for path in (saved([6, 2, 3]), text)]
    for scores in found:
        assert scores.share == 3 / 7
        assert scores.hardest(torch.arange(7), scores.share).tolist() == [2, 3, 6]
    assert found[0].source.split()[-1] == found[1].source.split()[-1]


def test_a_source_is_told_by_what_the_file_holds(saved):
    first, again, other = (load_difficulty(saved(each), LABELS).source for each in ([1, 2, 3], [1, 2, 3], [3, 2, 1]))
    assert first == again != other


@pytest.mark.parametrize(('values', 'message'), [
    ([1, 1], 'lists example 1 2 times; list each one once.'),
    ([0, 3], 'lists example 3, but there are 0 to 2; use indices of this set.'),
    ([-1], 'lists example -1, but there are 0 to 2; use indices of this set.'),
    ([0, 1, 2], 'lists 3 of 3 examples; list at least one, and leave a rest.'),
    ([0.5], 'holds float64 of shape (1,), but indices are integers in one dimension; save them as such.'),
    ([True, False, True], 'holds bool of shape (3,), but indices are integers in one dimension; save them as such.'),
])
def test_indices_that_cannot_be(saved, tmp_path, values, message):
    path = saved(values)
    with pytest.raises(DataError) as caught:
        load_difficulty(path, LABELS, kind='indices')
    assert str(caught.value) == f'{path} {message}'


@pytest.mark.parametrize('text', ['1\n0.5\n', '1 2\n', '99999999999999999999\n'])
def test_texts_that_are_no_indices(tmp_path, text):
    (tmp_path / 'hard.txt').write_text(text)
    with pytest.raises(DataError, match='hard.txt is no text of indices .*; write one integer a line.'):
        load_difficulty(tmp_path / 'hard.txt', LABELS, kind='indices')


def test_hardest_counts_and_breaks_ties_by_index():
    scores = torch.tensor([1.0, 3.0, 3.0, 0.0, 2.0])
    everything = torch.tensor([4, 3, 2, 1, 0])
    assert hardest(scores, everything, share=0.2).tolist() == [1]
    assert hardest(scores, everything, share=0.6).tolist() == [1, 2, 4]
    assert hardest(scores, everything, share=1).tolist() == [1, 2, 4, 0, 3]
    assert hardest(scores, torch.tensor([3, 0]), share=0.01).tolist() == [0], 'at least one'
    assert len(hardest(torch.rand(360), torch.arange(360))) == 36


@pytest.mark.parametrize(
    ('values', 'options', 'message'),
    [
        (
            [[1, 2]],
            {},
            "holds an array of shape (1, 2), but kind='scores' needs 1 dimension; choose the kind that fits the file.",
        ),
        (
            [1, 2, 3],
            {'kind': 'votes'},
            "holds an array of shape (3,), but kind='votes' needs 2 dimensions; choose the kind that fits the file.",
        ),
        ([1, 2], {}, 'holds 2 rows but there are 3 labels; pass the labels of the data set that the file describes.'),
        ([1, 2, np.nan], {}, 'holds negative or non-finite values, which are no scores; repair the file.'),
        (
            [1, -2, 3],
            {'kind': 'agreement'},
            'holds negative or non-finite values, which are no agreement; repair the file.',
        ),
        (
            [1, 2, 3],
            {'kind': 'agreement', 'models': 2},
            'counts up to 3 right models of models=2; pass how many models were asked.',
        ),
        ([0, 0, 0], {'kind': 'agreement'}, 'counts up to 0 right models of models=0; pass how many models were asked.'),
        (
            [[1], [1], [1]],
            {'kind': 'votes'},
            (
                'has votes on 1 classes, but the labels reach from 0 to 1; '
                'pass the labels of the data set that the file describes.'
            ),
        ),
        (['a', 'b', 'c'], {}, 'is not a readable .npy array of numbers; save it with numpy.save.'),
    ],
)
def test_files_that_do_not_fit(saved, values, options, message):
    path = saved(values)
    with pytest.raises(DataError) as caught:
        load_difficulty(path, LABELS, **options)
    assert str(caught.value).removeprefix('The file ') == f'{path} {message}'


def test_an_example_without_votes(saved):
    path = saved([[1, 1], [0, 0], [1, 1]])
    with pytest.raises(DataError, match='Example 1 of .* has no votes; remove it from the data or add votes.'):
        load_difficulty(path, LABELS, kind='votes')


def test_arguments_that_make_no_sense(saved, tmp_path):
    with pytest.raises(DataError, match="kind='vote' is unknown; use 'scores', 'votes', 'agreement' or 'indices'"):
        load_difficulty(saved([1, 2, 3]), LABELS, kind='vote')
    with pytest.raises(DataError, match="models=3 has no meaning with kind='scores'"):
        load_difficulty(saved([1, 2, 3]), LABELS, models=3)
    with pytest.raises(DataError, match='The file .*missing.npy does not exist; pass the path of a .npy file.'):
        load_difficulty(tmp_path / 'missing.npy', LABELS)
    broken = tmp_path / 'broken.npy'
    broken.write_bytes(b'\x93NUMPY damaged')
    with pytest.raises(DataError, match='The file .*broken.npy is not a readable .npy array of numbers'):
        load_difficulty(broken, LABELS)
    pickled = tmp_path / 'pickled.npy'
    np.save(pickled, np.array([{}, {}, {}]), allow_pickle=True)
    with pytest.raises(DataError, match='The file .*pickled.npy is not a readable .npy array of numbers'):
        load_difficulty(pickled, LABELS)


@pytest.mark.parametrize(
    ('scores', 'indices', 'share', 'message'),
    [
        ([1.0], [0], 0.0, 'share=0.0 must be positive and at most 1; use 0.1 for the hardest tenth'),
        ([1.0], [0], 1.5, 'share=1.5 must be positive and at most 1; use 0.1 for the hardest tenth'),
        ([1.0], [], 0.1, 'There are no indices to choose the hardest from; pass at least one.'),
        (
            [1.0],
            [0, 1],
            0.1,
            'The indices reach from 0 to 1, but there are 1 scores; pass the scores of the same data set.',
        ),
        ([1.0, float('nan')], [0, 1], 0.1, 'Example 1 has no finite score; use scores that cover all the indices.'),
    ],
)
def test_hardest_refuses(scores, indices, share, message):
    with pytest.raises(DataError) as caught:
        hardest(torch.tensor(scores), torch.tensor(indices, dtype=torch.int64), share)
    assert str(caught.value) == message


@pytest.mark.slow
@pytest.mark.skipif(
    'NNI_WCNAS_CIFAR10H' not in os.environ, reason='NNI_WCNAS_CIFAR10H names no file of CIFAR-10H counts'
)
def test_real_votes():
    from nni_wcnas.data import CIFAR10

    labels = CIFAR10(os.environ['NNI_WCNAS_CIFAR10']).images.test.labels
    scores = load_difficulty(Path(os.environ['NNI_WCNAS_CIFAR10H']), labels, kind='votes').values
    # People are right about 95 % of the time (Peterson et al., 2019).
    assert 0.03 < scores.mean() < 0.07
