"""Each type against its definition: closed forms, plain loops, colorsys, Pillow and scipy."""

import colorsys
import io
import math

import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image
from scipy import ndimage

from nni_wcnas.measure.corruption import SEVERITIES, corrupt, settings
from nni_wcnas.measure.corruption.blur import glass_blur
from nni_wcnas.measure.corruption.digital import elastic_transform
from nni_wcnas.measure.corruption.motion import smear
from nni_wcnas.measure.corruption.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from nni_wcnas.measure.corruption.plasma import plasma
from nni_wcnas.measure.corruption.spatter import spatter
from nni_wcnas.measure.corruption.weather import fog, frost, snow
from nni_wcnas.measure.corruption.zoom import magnify

SCALES = ('cifar', 'imagenet')
FRAMES = {'cifar': (7, 12, 16, 21, 26), 'imagenet': (12, 16, 11, 13, 11)}
"""How many magnified copies zoom_blur averages at each severity."""


def expect(image, name, severity, scale, pixels):
    """The corrupted image is this one, up to a grey level that rounding may cost."""
    changed = corrupt(image, name, severity, default_rng(0), scale=scale)
    assert np.abs(changed - np.floor(np.clip(pixels, 0, 1) * 255)).max() <= 1


def by_pixel(image, function):
    return np.array([[function(*pixel) for pixel in row] for row in image / 255])


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('severity', SEVERITIES)
class TestDeterministic:
    def test_contrast(self, severity, scale, small_photos):
        pixels = small_photos[0] / 255
        (factor,) = settings('contrast', severity, scale)
        mean = pixels.reshape(-1, 3).mean(0)
        expect(small_photos[0], 'contrast', severity, scale, factor * pixels + (1 - factor) * mean)

    def test_brightness(self, severity, scale, small_photos):
        (increase,) = settings('brightness', severity, scale)

        def brighter(*rgb):
            hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
            return colorsys.hsv_to_rgb(hue, saturation, min(value + increase, 1))

        image = small_photos[0].copy()
        image[:4] = 0, 0, 0
        expect(image, 'brightness', severity, scale, by_pixel(image, brighter))

    def test_saturate(self, severity, scale, small_photos):
        factor, increase = settings('saturate', severity, scale)

        def stronger(*rgb):
            hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
            return colorsys.hsv_to_rgb(hue, min(saturation * factor + increase, 1), value)

        image = small_photos[0].copy()
        image[:4] = np.arange(4)[:, None, None] * 80  # Grey, black too.
        expect(image, 'saturate', severity, scale, by_pixel(image, stronger))

    def test_jpeg_compression(self, severity, scale, small_photos):
        file = io.BytesIO()
        Image.fromarray(small_photos[0]).save(file, 'JPEG', quality=settings('jpeg_compression', severity, scale)[0])
        changed = corrupt(small_photos[0], 'jpeg_compression', severity, default_rng(0), scale=scale)
        assert (changed == np.asarray(Image.open(file))).all()

    def test_pixelate(self, severity, scale):
        """Of a checkerboard as fine as the boxes nothing is left but its mean."""
        (factor,) = settings('pixelate', severity, scale)
        small = int(32 * factor)
        image = default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        changed = corrupt(image, 'pixelate', severity, default_rng(0), scale=scale)
        rows = (np.arange(32) + 0.5) * small // 32  # Which box each new pixel lies in.
        same = (rows[:, None, None] == rows[None, :, None]).any(-1)
        for first in range(32):
            for second in range(32):
                if same[first, second]:
                    assert (changed[first] == changed[second]).all() and (changed[:, first] == changed[:, second]).all()
        if 32 % small == 0:
            boxes = image.reshape(small, 32 // small, small, 32 // small, 3).mean((1, 3))
            assert np.abs(changed[:: 32 // small, :: 32 // small] - boxes).max() <= 1

    def test_gaussian_blur(self, severity, scale, small_photos):
        (sigma,) = settings('gaussian_blur', severity, scale)
        reach = int(4 * sigma + 0.5)
        bell = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
        expect(small_photos[0], 'gaussian_blur', severity, scale,
               plain_filter(small_photos[0] / 255, np.outer(bell, bell) / bell.sum() ** 2, 'edge'))

    def test_defocus_blur(self, severity, scale, small_photos):
        radius, antialias = settings('defocus_blur', severity, scale)
        frame = 10 if radius > 8 else 8
        around = [(row, column) for row in range(-frame, frame + 1) for column in range(-frame, frame + 1)]
        disk = np.zeros((2 * frame + 1, 2 * frame + 1))
        for row, column in around:
            disk[frame + row, frame + column] = math.hypot(row, column) <= radius
        width = 2 if radius > 8 else 1
        bell = np.exp(-(np.arange(-width, width + 1) ** 2) / (2 * antialias**2))
        soft = plain_filter(disk[..., None] / disk.sum(), np.outer(bell, bell) / bell.sum() ** 2, 'reflect')[..., 0]
        expect(small_photos[0], 'defocus_blur', severity, scale, plain_filter(small_photos[0] / 255, soft, 'reflect'))

    def test_zoom_blur(self, severity, scale, small_photos):
        pixels = small_photos[0] / 255
        factors = np.arange(1, *settings('zoom_blur', severity, scale))
        assert len(factors) == FRAMES[scale][severity - 1]
        frames = [pixels]
        for factor in factors:
            part = math.ceil(32 / factor)
            first = (32 - part) // 2
            cut = pixels[first : first + part, first : first + part]
            frames.append(ndimage.zoom(cut, (factor, factor, 1), order=1)[:32, :32])
        expect(small_photos[0], 'zoom_blur', severity, scale, np.mean(frames, axis=0))


def plain_filter(pixels, kernel, mode):
    """Correlate by summing shifted copies."""
    reach = len(kernel) // 2
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode=mode)
    height, width = pixels.shape[:2]
    return sum(kernel[row, column] * padded[row : row + height, column : column + width]
               for row in range(len(kernel)) for column in range(len(kernel)))


@pytest.mark.parametrize('factor', [1, 1.25, 1.75, 2.5, 4.5])
def test_magnify_is_scipys_zoom(factor, small_photos):
    pixels = small_photos[1] / 255
    part = math.ceil(32 / factor)
    first = (32 - part) // 2
    zoomed = ndimage.zoom(pixels[first : first + part, first : first + part], (factor, factor, 1), order=1)
    trim = (len(zoomed) - 32) // 2
    assert np.allclose(magnify(pixels, factor), zoomed[trim : trim + 32, trim : trim + 32], atol=1e-12)


@pytest.mark.parametrize('angle', [-135, -90, -60, -45, 0, 17, 45])
def test_smear_is_a_plain_loop(angle):
    pixels = default_rng(0).random((9, 12, 1))
    radius, sigma = 6, 2.5
    expected = np.zeros(pixels.shape)
    weights = [math.exp(-(step**2) / (2 * sigma**2)) for step in range(2 * radius + 1)]
    for row in range(9):
        for column in range(12):
            for step, weight in enumerate(weights):
                down = math.ceil(step * math.sin(math.radians(angle)) - 0.5)
                right = math.ceil(step * math.cos(math.radians(angle)) - 0.5)
                source = pixels[min(max(row + down, 0), 8), min(max(column + right, 0), 11)]
                expected[row, column] += weight / sum(weights) * source
    assert np.allclose(smear(pixels, radius, sigma, angle), expected, atol=1e-12)


def test_plasma_is_a_plain_loop():
    side, decay = 16, 1.7
    generator, land, rough, step = default_rng(5), np.zeros((16, 16)), 1.0, 16
    while step > 1:
        half, count = step // 2, side // step
        noise = generator.uniform(-rough, rough, (3, count, count))
        for row in range(count):
            for column in range(count):
                top, left = row * step, column * step
                corners = [land[(top + a) % side, (left + b) % side] for a in (0, step) for b in (0, step)]
                land[top + half, left + half] = np.mean(corners) + noise[0, row, column]
        for row in range(count):
            for column in range(count):
                top, left = row * step, column * step
                for number, (y, x) in enumerate(((top, left + half), (top + half, left)), start=1):
                    neighbours = [land[(y + a) % side, (x + b) % side]
                                  for a, b in ((half, 0), (-half, 0), (0, half), (0, -half))]
                    land[y, x] = np.mean(neighbours) + noise[number, row, column]
        step, rough = half, rough / decay**2
    expected = (land - land.min()) / (land.max() - land.min())
    assert np.allclose(plasma(13, 16, default_rng(5), decay), expected[:13], atol=1e-12)


def test_noise_has_its_moments():
    pixels = np.full((200, 200, 3), 0.5)
    for function, setting, deviation in ((gaussian_noise, 0.1, 0.1), (speckle_noise, 0.2, 0.1),
                                         (shot_noise, 60, math.sqrt(0.5 / 60))):
        changed = function(pixels, default_rng(0), setting)
        assert changed.mean() == pytest.approx(0.5, abs=5 * deviation / math.sqrt(pixels.size))
        assert changed.std() == pytest.approx(deviation, rel=0.02)
    changed = impulse_noise(pixels, default_rng(0), 0.1)
    for level in (0, 1):
        assert (changed == level).mean() == pytest.approx(0.05, abs=0.004)
    assert (changed == 0.5).mean() == pytest.approx(0.9, abs=0.006)
    assert (changed[..., 0] != changed[..., 1]).mean() > 0.1  # Each channel on its own.


def test_glass_moves_colours_up_to_its_reach():
    """Behind a blur of nothing, each pixel has the colour of one that is up to one above and up to one to the left."""
    places = np.indices((12, 15)).transpose(1, 2, 0)
    pixels = np.concatenate([places, np.zeros((12, 15, 1))], axis=2) / 255
    moved = np.rint(glass_blur(pixels, default_rng(0), 0.05, 1, 1) * 255)[..., :2].astype(int) - places
    assert set(np.unique(moved)) == {-1, 0}
    assert (moved[[0, 1]] == 0).all() and (moved[:, [0, 1]] == 0).all()
    assert (moved[2:, 2:] == -1).mean() == pytest.approx(0.5, abs=0.12)
    assert np.unique(moved.reshape(-1, 2), axis=0).shape[0] == 4


def test_elastic_transform_is_affine_without_a_displacement():
    places = np.indices((32, 32)).transpose(1, 2, 0) / 255
    pixels = np.concatenate([places, np.zeros((32, 32, 1))], axis=2)
    assert np.allclose(elastic_transform(pixels, default_rng(0), 0, 0, 0), pixels, atol=1e-12)
    moved = elastic_transform(pixels, default_rng(1), 0, 0, 2.5)[8:24, 8:24] * 255  # Away from the mirrored edge.
    assert np.abs(moved - pixels[8:24, 8:24] * 255).max() > 0.5
    for axis in (0, 1):
        assert np.abs(np.diff(moved, 2, axis)).max() < 1e-9
    bent = elastic_transform(pixels, default_rng(1), 3, 1, 0)[8:24, 8:24] * 255
    assert np.abs(np.diff(bent, 2, 0)).max() > 0.1
    assert np.abs(bent - pixels[8:24, 8:24] * 255).max() <= 3


def test_elastic_transform_moves_three_points_by_what_is_drawn():
    """The affine map takes the points at a third of the side around the centre to where the generator says."""
    places = np.indices((32, 32)).transpose(1, 2, 0) / 255
    pixels = np.concatenate([places, np.zeros((32, 32, 1))], axis=2)
    before = np.array([[26, 26], [6, 26], [6, 6]])
    after = before + default_rng(3).uniform(-2.5, 2.5, (3, 2))
    moved = elastic_transform(pixels, default_rng(3), 0, 0, 2.5)[..., :2] * 255
    for point, origin in zip(after, before):
        found = [ndimage.map_coordinates(moved[..., axis], point[:, None], order=1)[0] for axis in (0, 1)]
        assert np.allclose(found, origin, atol=1e-6)


def test_fog_is_its_formula(small_photos):
    pixels = small_photos[2] / 255
    cloud = plasma(32, 32, default_rng(4), 2)[..., None]
    brightest = pixels.max()
    expected = (pixels + 1.5 * cloud) * brightest / (brightest + 1.5)
    assert np.allclose(fog(pixels, default_rng(4), 1.5, 2), expected)
    assert fog(pixels, default_rng(4), 1.5, 2).max() <= brightest


def test_frost_has_the_colours_of_the_photographs():
    """Without an image the texture is left; its means over many draws are those of the five published ones."""
    black = np.zeros((32, 32, 3))
    textures = np.stack([frost(black, default_rng(seed), 1, 1) for seed in range(200)]) * 255
    colours = [[78, 149, 166], [201, 205, 214], [201, 205, 214], [138, 153, 165], [112, 123, 135]]
    assert np.allclose(textures.mean((0, 1, 2)), np.mean(colours, axis=0), atol=8)
    assert textures.std((1, 2)).mean() == pytest.approx(19.4, abs=2)
    image = np.full((32, 32, 3), 0.4)
    assert np.allclose(frost(image, default_rng(0), 0.7, 0.5), 0.7 * image + 0.5 * textures[0] / 255)


def test_snow_falls_on_both_sides_and_never_darkens(small_photos):
    pixels = small_photos[3] / 255
    snowed = snow(pixels, default_rng(0), 0.1, 0.3, 1.5, 0.5, 10, 4, 0.9)
    assert (snowed >= pixels - 1e-12).all()
    flakes = snow(np.ones((32, 32, 3)), default_rng(0), 0.1, 0.3, 1.5, 0.5, 10, 4, 1) - 1
    assert np.allclose(flakes, flakes[::-1, ::-1]) and flakes.max() > 0.1
    assert np.allclose(snow(pixels, default_rng(0), 0.1, 0.3, 1.5, 9, 10, 4, 1), pixels)  # No flake is that bright.


def test_spatter_adds_water_or_covers_with_mud():
    grey = np.full((40, 40, 3), 0.5)
    wet = spatter(grey, default_rng(0), 0.65, 0.3, 2, 0.68, 0.5, False)
    added = wet - grey
    assert added.min() >= 0
    assert added.max() == pytest.approx(0.5 * 238 / 255)
    assert np.allclose(added[..., 0] * 238, added[..., 1] * 175) and np.allclose(added[..., 1], added[..., 2])
    muddy = spatter(grey, default_rng(0), 0.65, 0.3, 1, 0.65, 1.5, True)
    cover = (0.5 - muddy) / (0.5 - np.array([63, 42, 20]) / 255)
    assert np.allclose(cover[..., 0], cover[..., 2])
    assert ((cover < 1e-9) | (cover > 0.8 - 1e-9)).all() and (cover > 0.8).any()
    for is_mud in (False, True):
        assert (spatter(grey, default_rng(0), 0.1, 0.01, 2, 0.68, 0.5, is_mud) == grey).all()
