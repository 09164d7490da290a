"""What holds for every corruption type: determinism, shapes, growth with severity, liveness, bad input."""

import numpy as np
import pytest

from nni_wcnas.measure.corruption import BENCHMARK, FAMILIES, NAMES, SEVERITIES, VALIDATION, corrupt, settings

SCALES = ('cifar', 'imagenet')
DETERMINISTIC = {'defocus_blur', 'zoom_blur', 'gaussian_blur', 'brightness', 'contrast', 'pixelate', 'jpeg_compression',
                 'saturate'}
NOT_GROWING = {'glass_blur', 'frost', 'elastic_transform', 'saturate'}
"""Types whose published settings do not move an image further at each severity, though they are harder to recognise."""
LEVEL = {('motion_blur', 'cifar'): [4], ('spatter', 'cifar'): [4, 5], ('fog', 'imagenet'): [4]}
"""Severities at which a type moves an image no further than at a lower one: mud covers less than water spreads, ..."""


def run(images, name, severity, scale, seed=0):
    return np.stack([corrupt(image, name, severity, np.random.default_rng((seed, place)), scale=scale)
                     for place, image in enumerate(images)])


def distance(images, name, severity, scale):
    return np.abs(run(images, name, severity, scale).astype(float) - images).mean()


def test_names():
    assert len(BENCHMARK) == 15 and len(VALIDATION) == 4
    assert sorted(NAMES) == sorted(BENCHMARK + VALIDATION) == sorted(sum(FAMILIES.values(), ()))
    assert len(set(NAMES)) == 19
    assert all(len([name for name in family if name in VALIDATION]) == 1 for family in FAMILIES.values())


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('name', NAMES)
def test_same_generator_same_image(name, scale, small_photos):
    images = small_photos[:2]
    for severity in SEVERITIES:
        before = images.copy()
        first, again, other = (run(images, name, severity, scale, seed) for seed in (0, 0, 1))
        assert first.dtype == np.uint8 and first.shape == images.shape
        assert (first == again).all()
        assert (first == other).all() == (name in DETERMINISTIC)
        assert (images == before).all()
        assert (first != images).any()


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('name', sorted(set(NAMES) - NOT_GROWING))
def test_strength_grows_with_severity(name, scale, small_photos, large_photos):
    images = small_photos if scale == 'cifar' else large_photos
    severities = [severity for severity in SEVERITIES if severity not in LEVEL.get((name, scale), [])]
    distances = [0, *(distance(images, name, severity, scale) for severity in severities)]
    assert (np.diff(distances) > 0).all(), distances


@pytest.mark.parametrize('name', sorted(set(NAMES) - {'saturate'}))
def test_imagenet_is_stronger(name, small_photos):
    gentle, strong = (np.mean([distance(small_photos, name, severity, scale) for severity in SEVERITIES])
                      for scale in SCALES)
    assert strong > 1.05 * gentle


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('name', NAMES)
def test_settings_differ_by_severity(name, scale):
    assert len({settings(name, severity, scale) for severity in SEVERITIES}) == 5


@pytest.mark.parametrize('name', NAMES)
def test_extreme_images(name):
    """Black, white, one colour, not square, as small as allowed: no warning, no undefined value."""
    for image in (np.zeros((8, 8, 3)), np.full((8, 11, 3), 255), np.full((13, 8, 3), [255, 0, 7]), np.eye(20)[..., None]
                  * [255, 255, 255]):
        image = image.astype(np.uint8)
        for scale in SCALES:
            for severity in SEVERITIES:
                with np.errstate(all='raise', under='ignore'):
                    changed = corrupt(image, name, severity, np.random.default_rng(0), scale=scale)
                assert changed.shape == image.shape


def test_global_random_state_is_untouched(small_photos):
    np.random.seed(0)
    expected = np.random.RandomState(0).random()
    for name in NAMES:
        corrupt(small_photos[0], name, 3, np.random.default_rng(0), scale='cifar')
    assert np.random.random() == expected


@pytest.mark.parametrize('change, error, message', [
    ({'name': 'rain'}, ValueError, "no corruption 'rain'; use one of gaussian_noise"),
    ({'severity': 0}, ValueError, 'severity=0 must be an integer from 1 to 5'),
    ({'severity': 6}, ValueError, 'severity=6 must'),
    ({'severity': True}, ValueError, 'severity=True must'),
    ({'severity': 1.0}, ValueError, 'severity=1.0 must'),
    ({'scale': 'tiny'}, ValueError, "no scale 'tiny'; use 'cifar'"),
    ({'image': np.zeros((32, 32, 3))}, ValueError, r'not float64 of shape \(32, 32, 3\); scale to 0..255'),
    ({'image': np.zeros((3, 32, 32), np.uint8)}, ValueError, r'uint8 of shape \(3, 32, 32\)'),
    ({'image': np.zeros((32, 32), np.uint8)}, ValueError, r'of shape \(32, 32\)'),
    ({'image': np.zeros((7, 32, 3), np.uint8)}, ValueError, 'sides of at least 8'),
    ({'generator': 0}, TypeError, r'generator=0 is none; pass numpy.random.default_rng\(seed\)'),
])
def test_bad_input(change, error, message):
    arguments = {'image': np.zeros((32, 32, 3), np.uint8), 'name': 'fog', 'severity': 1,
                 'generator': np.random.default_rng(0), 'scale': 'cifar'} | change
    image, name, severity, generator, scale = arguments.values()
    with pytest.raises(error, match=message):
        corrupt(image, name, severity, generator, scale=scale)
