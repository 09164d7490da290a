"""Errors under corruptions against counts by hand, and what the random streams depend on."""

import numpy as np
import pytest
import torch
from torch import nn

from nni_wcnas.data import Digits
from nni_wcnas.measure.corruption import (
    BENCHMARK,
    SEVERITIES,
    CorruptedTestSet,
    CorruptionErrors,
    corruption_errors,
    settings,
)


class Bright(nn.Module):
    """Class 1 if the mean of the (normalised) image is above a threshold; wrong in training mode."""

    def __init__(self, threshold=0.0):
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(threshold))
        self.norm = nn.BatchNorm1d(2)

    def forward(self, images):
        above = images.mean((1, 2, 3)) - self.threshold
        return torch.stack([-above, above], 1) * (-1 if self.training else 1)


def read(data, name='gaussian_noise', severity=3, scale='cifar', seed=0):
    batches = list(CorruptedTestSet(data, scale=scale, seed=seed).batches(name, severity))
    return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])


def greys(make_data, **options):
    """Nine images of one grey level each, all of class 0."""
    levels = (np.arange(1, 10) * 25)[:, None, None, None]
    return make_data(np.broadcast_to(levels, (9, 16, 16, 3)).astype(np.uint8), torch.zeros(9, dtype=torch.int64),
                     **options)


@pytest.mark.parametrize('scale', ['cifar', 'imagenet'])
def test_errors_by_hand(scale, make_data):
    """Brightness raises each level by a known step; those above the mean of the data are wrong."""
    data = greys(make_data, mean=(0.6, 0.6, 0.6))
    errors = corruption_errors(Bright(), CorruptedTestSet(data, scale=scale), names=('brightness',))
    assert isinstance(errors, CorruptionErrors) and errors.scale == scale
    for severity in SEVERITIES:
        (increase,) = settings('brightness', severity, scale)
        expected = np.mean([level * 25 / 255 + increase > 0.6 for level in range(1, 10)])
        assert errors['brightness'][severity] == pytest.approx(expected)
    assert errors['brightness'][5] > errors['brightness'][1]


def test_only_what_is_asked_for(make_data):
    images = CorruptedTestSet(greys(make_data), scale='cifar')
    errors = corruption_errors(Bright(), images, names=('fog', 'saturate'), severities=(2, 5))
    assert {name: set(row) for name, row in errors.items()} == {'fog': {2, 5}, 'saturate': {2, 5}}
    assert tuple(corruption_errors(Bright(), images, severities=(1,))) == BENCHMARK


@pytest.mark.parametrize('name', ['gaussian_noise', 'frost', 'glass_blur'])
def test_batches_do_not_matter(name, make_data, small_photos):
    labels = torch.arange(24) % 2
    whole, whole_labels = read(make_data(small_photos, labels, batch_size=24), name)
    parts, part_labels = read(make_data(small_photos, labels, batch_size=5), name)
    assert torch.equal(whole, parts)
    assert torch.equal(whole_labels, part_labels) and torch.equal(whole_labels, labels)


def test_each_argument_acts(make_data, small_photos):
    data = make_data(np.repeat(small_photos[:1], 2, 0), torch.zeros(2, dtype=torch.int64))
    images = read(data)[0]
    assert torch.equal(images, read(data)[0])
    assert not torch.equal(images[0], images[1])  # One image, two positions.
    for change in ({'seed': 1}, {'severity': 4}, {'name': 'shot_noise'}, {'scale': 'imagenet'}):
        assert not torch.equal(images, read(data, **change)[0])
    # The seed acts through the random streams alone.
    assert torch.equal(read(data, 'contrast')[0], read(data, 'contrast', seed=1)[0])


def test_images_are_normalised_as_the_data(make_data, small_photos):
    labels = torch.zeros(24, dtype=torch.int64)
    plain = read(make_data(small_photos, labels, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))[0]
    assert plain.min() >= 0 and plain.max() <= 1
    scaled = read(make_data(small_photos, labels, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2)))[0]
    expected = (plain - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.5, 0.25, 0.2])[:, None, None]
    assert torch.allclose(scaled, expected)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32, torch.float64])
def test_the_network_stays_as_it_was(dtype, make_data):
    network = Bright(0.1).to(dtype).train()
    network.norm.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    corruption_errors(network, CorruptedTestSet(greys(make_data), scale='cifar'), names=('fog',), severities=(1,))
    assert network.training and not network.norm.training
    assert all(torch.equal(value, before[name]) and value.dtype == before[name].dtype
               for name, value in network.state_dict().items())


def test_it_stays_as_it_was_after_an_error(make_data):
    network = Bright().to(torch.bfloat16).train()
    with pytest.raises(ValueError, match='The network has 2 classes, but the images 3'):
        corruption_errors(network, CorruptedTestSet(greys(make_data, classes=3), scale='cifar'))
    assert network.training and network.threshold.dtype is torch.bfloat16


def test_a_bar_on_request(make_data, capsys):
    images = CorruptedTestSet(greys(make_data), scale='cifar')
    for progress in (False, True):
        corruption_errors(Bright(), images, names=('fog',), severities=(1, 2), progress=progress)
        assert ('18/18' in capsys.readouterr().err) is progress


def test_real_digits():
    data = Digits(limit=100)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10))
    errors = corruption_errors(network, CorruptedTestSet(data, scale='cifar'), names=('impulse_noise',),
                               severities=(5,))
    assert errors['impulse_noise'][5] * len(data.test_indices) == pytest.approx(
        round(errors['impulse_noise'][5] * len(data.test_indices)))


def test_bad_input(make_data):
    data = greys(make_data)
    with pytest.raises(ValueError, match="no scale 'cifar10'"):
        CorruptedTestSet(data, scale='cifar10')
    with pytest.raises(ValueError, match="no scale 'cifar10'"):
        CorruptionErrors({}, scale='cifar10')
    images = CorruptedTestSet(data, scale='cifar')
    with pytest.raises(ValueError, match="no corruption 'rain'"):
        corruption_errors(Bright(), images, names=('fog', 'rain'))
    with pytest.raises(ValueError, match='severity=6'):
        corruption_errors(Bright(), images, severities=(1, 6))
    with pytest.raises(ValueError, match=r'names=\(\) and .* must not be empty'):
        corruption_errors(Bright(), images, names=())
