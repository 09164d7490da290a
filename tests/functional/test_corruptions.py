"""Corruptions against plain implementations; what all of them keep: identity at 0, derivatives, range, independence."""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from nni_wcnas.data import Digits
from nni_wcnas.functional import blur, pixel_noise
from nni_wcnas.functional.compression import jpeg, pixelate
from nni_wcnas.functional.corruptions import CORRUPTIONS, corrupted, drawn_chance
from nni_wcnas.functional.displacement import displaced, smooth_field, zoom_blur
from nni_wcnas.measure.corruption.severity import settings

BY_NAME = {corruption.name: corruption for corruption in CORRUPTIONS}
NAMES = list(BY_NAME)


def numbers(count=3, height=9, width=None, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, height, width or height, generator=random, dtype=torch.float64)


def chance(images, seed=0):
    torch.manual_seed(seed)
    return drawn_chance(images)


def values(*found):
    return torch.tensor(found, dtype=torch.float64)


# ------------------------------------------------------------------------------------------- plain implementations


def test_noise():
    x, n = numbers(2), torch.randn(2, 3, 9, 9, dtype=torch.float64)
    v = values(0.1, 0.3)
    for k in range(2):
        torch.testing.assert_close(pixel_noise.gaussian_noise(x, v, n)[k], x[k] + float(v[k]) * n[k])
        torch.testing.assert_close(pixel_noise.speckle_noise(x, v, n)[k], x[k] + float(v[k]) * x[k] * n[k])
        torch.testing.assert_close(pixel_noise.shot_noise(x, v, n)[k], x[k] + float(v[k]) * x[k] ** 0.5 * n[k])


def test_shot_noise_has_the_mean_and_the_variance_of_counted_photons():
    photons, x = 50, torch.full((1, 3, 200, 200), 0.4, dtype=torch.float64)
    torch.manual_seed(0)
    ours = pixel_noise.shot_noise(x, values(photons**-0.5), torch.randn_like(x))
    counted = torch.poisson(x * photons) / photons
    assert ours.mean().item() == pytest.approx(counted.mean().item(), abs=2e-3)
    assert ours.var().item() == pytest.approx(counted.var().item(), rel=0.05)


def test_impulses_are_a_share_of_all_values_half_of_them_white():
    x = torch.full((2, 3, 200, 200), 0.4, dtype=torch.float64)
    torch.manual_seed(0)
    found = pixel_noise.impulse_noise(x, values(0.1, 0.3), torch.rand_like(x))
    for image, share in zip(found, (0.1, 0.3)):
        assert (image == 0).double().mean().item() == pytest.approx(share / 2, abs=0.004)
        assert (image == 1).double().mean().item() == pytest.approx(share / 2, abs=0.004)


@pytest.mark.parametrize('size', [(9, 9), (4, 13)])
def test_gaussian_blur_by_scipy(size):
    """Where nothing is beyond the edge, and its weight is shared out."""
    x, sigma = numbers(2, *size), (0.6, 1.7)
    found = blur.gaussian_blur(x, values(*sigma))
    inside = np.ones(size)
    for image, blurred, s in zip(x, found, sigma):
        options = {'mode': 'constant', 'truncate': 30}
        for channel in range(3):
            expected = ndimage.gaussian_filter(image[channel].numpy(), s, **options)
            expected /= ndimage.gaussian_filter(inside, s, **options)
            np.testing.assert_allclose(blurred[channel], expected, atol=1e-5)


def _correlated(image, kernel):
    """By scipy, channel by channel; the nearest pixel beyond the edge."""
    kernel = kernel / kernel.sum()
    return np.stack([ndimage.correlate(channel, kernel, mode='nearest') for channel in image.numpy()])


def test_defocus_blur_by_scipy():
    x, radii = numbers(3), (0.4, 1.0, 2.6)
    found = blur.defocus_blur(x, values(*radii), 3.0)
    for image, blurred, radius in zip(x, found, radii):
        kernel = np.array([[np.clip(1 + radius - math.hypot(i, j), 0, 1) for j in range(-4, 5)] for i in range(-4, 5)])
        np.testing.assert_allclose(blurred, _correlated(image, kernel), atol=1e-12)


def test_motion_blur_is_the_mean_of_moved_images():
    x, length, angle = numbers(3, 11), (0.7, 3.0, 5.2), (0.0, 0.6, -1.3)
    found = blur.motion_blur(x, values(*length), values(*angle), 6.0)
    for k in range(3):
        moved = [
            ndimage.shift(x[k].numpy(), (0, t * length[k] * math.sin(angle[k]), t * length[k] * math.cos(angle[k])),
                          order=1, mode='nearest')
            for t in np.linspace(-0.5, 0.5, 7)
        ]  # fmt: skip
        np.testing.assert_allclose(found[k], np.mean(moved, 0), atol=1e-12)


def test_zoom_blur_by_scipy():
    x, most = numbers(2, 8, 11), (0.3, 0.9)
    found = zoom_blur(x, values(*most))
    rows, columns = np.mgrid[:8, :11].astype(float)
    for image, blurred, m in zip(x, found, most):
        expected = np.zeros((3, 8, 11))
        for factor in 1 + m * np.linspace(0, 1, 6):
            places = [3.5 + (rows - 3.5) / factor, 5 + (columns - 5) / factor]
            expected += np.stack([ndimage.map_coordinates(c, places, order=1, mode='nearest') for c in image.numpy()])
        np.testing.assert_allclose(blurred, expected / 6, atol=1e-12)


def test_displacement_by_scipy():
    x, field = numbers(2, 7, 10), torch.randn(2, 2, 7, 10, dtype=torch.float64)
    found = displaced(x, values(0.4, 2.5), field)
    rows, columns = np.mgrid[:7, :10].astype(float)
    for k, reach in enumerate((0.4, 2.5)):
        places = [rows + reach * field[k, 0].numpy(), columns + reach * field[k, 1].numpy()]
        expected = [ndimage.map_coordinates(c, places, order=1, mode='nearest') for c in x[k].numpy()]
        np.testing.assert_allclose(found[k], np.stack(expected), atol=1e-12)


def test_smooth_fields_keep_the_corners_and_are_smooth():
    coarse = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    field = smooth_field(coarse, torch.Size((32, 32)))
    torch.testing.assert_close(field[..., [0, 0, -1, -1], [0, -1, 0, -1]], coarse[..., [0, 0, -1, -1], [0, -1, 0, -1]])
    assert field.diff(dim=-1).abs().max() < 0.3 * (coarse.max() - coarse.min())


def test_big_pixels_are_means_of_boxes():
    x = numbers(2, 12)
    found = pixelate(x, values(0.5, 0.75))
    for image, boxed, side in zip(x, found, (2, 4)):
        means = torch.nn.functional.avg_pool2d(image, side)
        torch.testing.assert_close(boxed, means.repeat_interleave(side, 1).repeat_interleave(side, 2))


@pytest.mark.parametrize(('quality', 'coarseness'), [(50, 1.0), (20, 2.5)])
def test_jpeg_by_pillow(quality, coarseness):
    """Coloured digits with a side that blocks do not fill; Pillow rounds pixels to whole levels, too."""
    batch = next(iter(Digits(batch_size=20, limit=60).train_dataloader()))
    colours = torch.rand(20, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    pixels = ((batch.clean + 1) / 2 * colours).repeat(1, 1, 1, 2)[..., :27]
    pixels = (pixels * 255).round().double() / 255
    found = jpeg(pixels, torch.full((20,), coarseness, dtype=torch.float64)).clamp(0, 1)
    theirs = torch.stack([_by_pillow(image, quality) for image in pixels])
    lost = (theirs - pixels).abs().mean()
    assert lost > 3 / 255 and (found - theirs).abs().mean() < 0.3 * lost
    other = jpeg(pixels, torch.full((20,), 2 * coarseness, dtype=torch.float64)).clamp(0, 1)
    assert (other - theirs).abs().mean() > 0.8 * lost, 'which tells qualities apart'


def _by_pillow(image, quality):
    file = BytesIO()
    levels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(levels).save(file, 'jpeg', quality=quality, subsampling=0)
    return torch.from_numpy(np.asarray(Image.open(file)) / 255).permute(2, 0, 1)


# ------------------------------------------------------------------------------------------------- all of them


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('size', [3, 5, 16, 33])
def test_leaves_images_at_severity_0_changes_them_above_and_stays_in_range(name, size):
    x = numbers(6, size)
    told = chance(x)
    torch.testing.assert_close(BY_NAME[name](x, torch.zeros(6, dtype=torch.float64), told), x, rtol=0, atol=1e-7)
    found = BY_NAME[name](x, torch.ones(6, dtype=torch.float64), told)
    assert found.shape == x.shape and found.min() >= 0 and found.max() <= 1
    if (name, size) != ('gaussian_blur', 3):  # A bell of 0.2 pixels.
        assert (found - x).abs().mean() > 1e-3


@pytest.mark.parametrize('name', NAMES)
def test_grows_with_severity_on_real_images(name):
    batch = next(iter(Digits(batch_size=40, limit=120).train_dataloader()))
    x = (batch.clean + 1) / 2 * 0.8 + 0.1
    told = chance(x)
    change = [(BY_NAME[name](x, torch.full((len(x),), s), told) - x).abs().mean().item() for s in (0.0, 0.3, 0.6, 1.0)]
    assert change[0] < 1e-6
    if name != 'saturate':  # Digits are grey.
        assert change[1] < change[2] < change[3] and change[3] > 0.01


@pytest.mark.parametrize('name', NAMES)
def test_derivative_by_severity(name):
    x = numbers(4, 16)
    told, weights = chance(x), torch.randn(4, 3, 16, 16, dtype=torch.float64)
    severity = values(0.21, 0.4, 0.63, 0.87).requires_grad_()
    (slope,) = torch.autograd.grad((weights * BY_NAME[name](x, severity, told)).sum(), severity)
    if BY_NAME[name].has_gradient:
        step = 1e-6
        above, below = (
            (weights * BY_NAME[name](x, severity.detach() + sign * step, told)).sum((1, 2, 3)) for sign in (1, -1)
        )
        torch.testing.assert_close(slope, (above - below) / (2 * step), rtol=1e-5, atol=1e-6)
        assert slope.abs().min() > 1e-3
    else:
        torch.testing.assert_close(slope, weights.sum((1, 2, 3)), msg='1 at every pixel')


def test_steps_are_those_that_say_so():
    steps = {name for name in NAMES if not BY_NAME[name].has_gradient}
    assert steps == {'impulse_noise', 'pixelate', 'jpeg_compression'} and len(NAMES) == len(set(NAMES)) == 16


def test_an_image_does_not_depend_on_the_others_nor_on_its_place():
    x = numbers(48, 8)
    told, kinds, severity = chance(x), [k % 16 for k in range(48)], torch.rand(48, dtype=torch.float64)
    whole = corrupted(x, kinds, severity, told)
    order = torch.randperm(48)
    moved = corrupted(x[order], [kinds[k] for k in order], severity[order], type(told)(*(part[order] for part in told)))
    torch.testing.assert_close(moved, whole[order])
    for k in (0, 7, 15, 33):
        alone = CORRUPTIONS[kinds[k]](x[k : k + 1], severity[k : k + 1], type(told)(*(p[k : k + 1] for p in told)))
        torch.testing.assert_close(alone[0], whole[k])


@pytest.mark.parametrize(('severity', 'left'), [(0.0, 1.0), (0.25, 0.15**0.5), (0.5, 0.15), (1.0, 0.15**2)])
def test_contrast_at_a_half_is_the_fifth_level_of_the_benchmark(severity, left):
    assert settings('contrast', 5, 'cifar') == (0.15,)
    x = numbers(1)
    found = BY_NAME['contrast'](x, values(severity), chance(x))
    assert (found.std() / x.std()).item() == pytest.approx(left, rel=1e-6)
