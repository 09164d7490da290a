"""Measures of generated images against their parts, and on images whose order of merit is known."""

import pytest
import torch
from tiny_reference import untrained
from torch import nn

from nni_wcnas.data import Digits
from nni_wcnas.functional.inception_score import inception_score
from nni_wcnas.functional.precision_recall import precision_recall
from nni_wcnas.measure.image.extractor import module_extractor, reference_extractor
from nni_wcnas.measure.image.feature_distance import FrechetDistance, kernel_distance
from nni_wcnas.measure.image.generated_images import describe, label_errors, measure_images

DISTANCES = ['fid', 'kid', 'precision', 'recall']
COUNTS = ['generated_images', 'real_images', 'image_features']


@pytest.fixture(scope='module')
def data():
    return Digits()


@pytest.fixture(scope='module')
def extractor(data):
    return reference_extractor(untrained(data))


def noise(count=150, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 16, 16, generator=generator) * 2 - 1, torch.arange(count) % 10


def test_each_measure(data, extractor):
    (generated, labels), real = noise(), data.examples('weights', 20).clean
    state = torch.get_rng_state()
    found = measure_images(generated, labels, real, extractor, seed=4)
    assert torch.get_rng_state().equal(state)
    features, others = (extractor.features(images).double() for images in (generated, real))
    precision, recall = precision_recall(others, features)
    probabilities = extractor.probabilities(generated).double()
    expected = {
        'fid': FrechetDistance(others)(features),
        'kid': kernel_distance(features, others, seed=4),
        'precision': precision,
        'recall': recall,
        'inception_score': inception_score(probabilities).item(),
        **label_errors(probabilities, labels, 'label_error'),
        'generated_images': 150,
        'real_images': 200,
        'image_features': 48,
    }
    assert found == pytest.approx(expected)
    assert all(isinstance(value, float) for value in found.values())
    assert describe(found, extractor) == {
        'extractor': 'reference-none', 'generated_images': 150, 'real_images': 200, 'image_features': 48
    }
    other = measure_images(generated, labels, real, extractor, seed=5)
    assert {name for name in found if found[name] != other[name]} == {'kid'}


def test_an_extractor_gives_what_it_can(data):
    (generated, labels), real = noise(), data.examples('weights', 20).clean
    pooled = nn.Sequential(nn.AvgPool2d(8), nn.Flatten())
    names = {
        how: list(measure_images(generated, labels, real, module_extractor(pooled, 'pooled', **arguments)))
        for how, arguments in {
            'features': {}, 'classes': {'classifier': pooled}, 'labels': {'classifier': pooled, 'knows_labels': True}
        }.items()
    }
    assert names['features'] == [*DISTANCES, *COUNTS]
    assert names['classes'] == [*DISTANCES, 'inception_score', *COUNTS]
    assert names['labels'] == [*DISTANCES, 'inception_score', 'label_error', *COUNTS], 'each class has 15 images'


def test_real_images_are_nearer_than_noise_and_few_kinds_are_recalled_less(data, extractor):
    reference = data.examples('weights', 40).clean
    other = data.examples('architecture', 15)
    real = measure_images(other.clean, other.labels, reference, extractor)
    bad = measure_images(*noise(), reference, extractor)
    one = other.clean[:15].repeat(10, 1, 1, 1)
    narrow = measure_images(one, other.labels[:15].repeat(10), reference, extractor)
    itself = measure_images(reference, data.examples('weights', 40).labels, reference, extractor)
    assert itself['fid'] == pytest.approx(0, abs=1e-5) and (itself['precision'], itself['recall']) == (1, 1)
    for worse in (bad, narrow):
        assert itself['fid'] < real['fid'] < worse['fid']
        assert real['kid'] < worse['kid']
        assert real['recall'] > worse['recall']
    assert bad['precision'] < 0.1 < real['precision']
    assert narrow['inception_score'] < real['inception_score']


def test_errors_of_labels():
    """20 images of class 0, of which 5 are wrong, 30 of class 2, of which 3 are, 10 of class 1, all wrong."""
    labels = torch.tensor([0] * 20 + [2] * 30 + [1] * 10)
    guesses = torch.tensor([1] * 5 + [0] * 15 + [0] * 3 + [2] * 27 + [2] * 10)
    found = label_errors(nn.functional.one_hot(guesses, 3).double(), labels, 'of')
    assert found == pytest.approx({'of': 18 / 60, 'of_worst': 5 / 20})
    assert list(label_errors(nn.functional.one_hot(guesses, 3).double()[50:], labels[50:], 'of')) == ['of']


def test_refused(data, extractor):
    (generated, labels), real = noise(), data.examples('weights', 20).clean
    with pytest.raises(ValueError, match='There are 150 images and 149 labels: give one label for each'):
        measure_images(generated, labels[1:], real, extractor)
    with pytest.raises(ValueError, match='There are 48 generated images, but reference-none has 48 features, .* 49 im'):
        measure_images(generated[:48], labels[:48], real, extractor)
    with pytest.raises(ValueError, match='There are 30 real images'):
        measure_images(generated, labels, real[:30], extractor)
    measure_images(generated[:49], labels[:49], real[:49], extractor)
    generated[3, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match='The features of the generated images by reference-none are not finite'):
        measure_images(generated, labels, real, extractor)
