"""ImageNet-C's severities against imagecorruptions-imaug 1.1.5, and our edges against OpenCV's.

Slow: the library brings 430 MB (OpenCV, numba, scikit-image). The extra `oracles` installs it.

Of frost, for which the library has photographs, only mean and spread are compared. Of elastic_transform it has a
version of its own (no affine map, other displacements): ours is compared with OpenCV's affine maps instead.
"""

import numpy as np
import pytest
from numpy.random import default_rng

from nni_wcnas.measure.corruption import NAMES, SEVERITIES, corrupt
from nni_wcnas.measure.corruption.digital import elastic_transform
from nni_wcnas.measure.corruption.spatter import _edges, _equalised

pytestmark = pytest.mark.slow

DETERMINISTIC = ('defocus_blur', 'zoom_blur', 'gaussian_blur', 'brightness', 'contrast', 'pixelate', 'jpeg_compression',
                 'saturate')
RANDOM = tuple(name for name in NAMES if name not in DETERMINISTIC and name not in ('elastic_transform', 'frost'))

FROST = 7
"""Grey levels that synthesised frost may differ by."""


@pytest.fixture(scope='module')
def library():
    return pytest.importorskip('imagecorruptions')


@pytest.mark.parametrize('severity', SEVERITIES)
@pytest.mark.parametrize('name', DETERMINISTIC)
def test_deterministic_types_are_equal(name, severity, library, large_photos):
    for image in large_photos:
        ours = corrupt(image, name, severity, default_rng(0), scale='imagenet').astype(int)
        assert np.abs(ours - library.corrupt(image, corruption_name=name, severity=severity)).max() <= 1


@pytest.mark.parametrize('severity', SEVERITIES)
@pytest.mark.parametrize('name', ['gaussian_noise', 'shot_noise', 'speckle_noise', 'impulse_noise', 'motion_blur',
                                  'snow', 'fog', 'spatter'])
def test_same_draws_give_the_same_image(name, severity, library, large_photos, monkeypatch):
    """The library is made to draw from a generator like ours; both happen to draw in the same order."""
    for seed, image in enumerate(large_photos[:, :72, :72]):  # Of this size no zoomed layer has anything to trim.
        draw = default_rng(seed)
        monkeypatch.setattr(np.random, 'normal', lambda size, loc=0, scale=1, draw=draw: draw.normal(loc, scale, size))
        monkeypatch.setattr(np.random, 'uniform', draw.uniform)
        monkeypatch.setattr(np.random, 'poisson', draw.poisson)
        options = {'seed': seed} if name == 'impulse_noise' else {}
        expected = library.corrupt(image, corruption_name=name, severity=severity, **options).astype(int)
        difference = np.abs(corrupt(image, name, severity, default_rng(seed), scale='imagenet') - expected)
        if name == 'spatter' and severity <= 3:  # Equalising magnifies a distance that OpenCV rounds otherwise.
            assert difference.mean() < 0.4
        else:
            assert difference.max() <= 1


def changes(images, function, repeats):
    """Mean, deviation and mean distance of the changes, one row a draw."""
    rows = []
    for number in range(repeats):
        image = images[number % len(images)].astype(float)
        change = function(images[number % len(images)], number) - image
        rows.append([change.mean(), change.std(), np.abs(change).mean()])
    return np.array(rows)


@pytest.mark.parametrize('severity', SEVERITIES)
@pytest.mark.parametrize('name', [*RANDOM, 'frost'])
def test_random_types_have_the_same_distribution(name, severity, library, large_photos, monkeypatch):
    repeats, draw = 320, np.random.randint
    if name == 'frost':  # The published sets have five textures; the library also draws a sixth, the darkest.
        monkeypatch.setattr(np.random, 'randint', lambda low, *high: draw(low, *high) if high else draw(5))
    np.random.seed(severity)
    ours = changes(large_photos, lambda image, seed: corrupt(image, name, severity, default_rng(seed),
                                                             scale='imagenet'), repeats)
    theirs = changes(large_photos, lambda image, seed: library.corrupt(image, corruption_name=name, severity=severity),
                     repeats)
    for column, measure in enumerate(('mean', 'deviation', 'distance')):
        # Pairs of draws on the same image: their differences scatter around 0.
        difference = ours[:, column] - theirs[:, column]
        noise = difference.std() / np.sqrt(repeats)
        allowed = FROST if name == 'frost' else 4 * noise + 0.02 * theirs[:, 2].mean()
        assert abs(difference.mean()) < allowed, (measure, difference.mean(), noise)


def test_edges_are_opencvs():
    cv2 = pytest.importorskip('cv2')
    for seed in range(20):
        noise = default_rng(seed).normal(0.65, 0.3, (64, 48))
        blurred = cv2.GaussianBlur(noise, (0, 0), 2)
        levels = (np.where(blurred < 0.68, 0, blurred) * 255).astype(np.uint8)
        assert (_edges(levels.astype(float)) == (cv2.Canny(levels, 50, 150) > 0)).all()
        assert (_equalised(levels) == cv2.equalizeHist(levels)).all()


def test_affine_maps_are_opencvs(large_photos):
    cv2 = pytest.importorskip('cv2')
    for seed, image in enumerate(large_photos):
        before = 48 + 32 * np.array([[1, 1], [-1, 1], [-1, -1]])
        after = before + default_rng(seed).uniform(-5, 5, (3, 2))
        to_xy = [points[:, ::-1].astype(np.float32) for points in (before, after)]
        expected = cv2.warpAffine(image, cv2.getAffineTransform(*to_xy), (96, 96), borderMode=cv2.BORDER_REFLECT_101)
        ours = elastic_transform(image / 255, default_rng(seed), 0, 0, 5) * 255
        assert np.abs(ours - expected).mean() < 0.6  # OpenCV rounds positions to 1/32 pixel, and levels.
