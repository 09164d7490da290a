"""Each operation against PIL on 8-bit images, and its gradients against finite differences."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from nni_wcnas.functional.augmentation_operations import OPERATIONS

NAMES = ('shear_x', 'shear_y', 'translate_x', 'translate_y', 'rotate', 'auto_contrast', 'invert', 'equalize',
         'solarize', 'posterize', 'contrast', 'colour', 'brightness', 'sharpness', 'cutout')
BY_NAME = {operation.name: operation for operation in OPERATIONS}
SMOOTH = [operation for operation in OPERATIONS if operation.has_gradient]
STEPS = [operation for operation in OPERATIONS if not operation.has_gradient]
MAGNITUDES = (0.0, 0.13, 0.37, 0.5, 0.81, 1.0)


def _affine(image, matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _cutout(image, value, place):
    side, (row, column) = image.size[0], place
    first, last = ([centre * side + sign * value * side / 2 for centre in (column, row)] for sign in (-1, 1))
    painted = image.copy()
    # PIL's corners belong to the rectangle: the pixels whose centres lie between first and last.
    corners = [*np.ceil(np.array(first) - 0.5), *np.ceil(np.array(last) - 1.5)]
    if (np.array(corners[2:]) >= corners[:2]).all():
        ImageDraw.Draw(painted).rectangle(corners, fill=(128, 128, 128))
    return painted


PIL = {
    'shear_x': lambda image, v, place: _affine(image, (1, v, 0, 0, 1, 0)),
    'shear_y': lambda image, v, place: _affine(image, (1, 0, 0, v, 1, 0)),
    'translate_x': lambda image, v, place: _affine(image, (1, 0, v * image.size[0], 0, 1, 0)),
    'translate_y': lambda image, v, place: _affine(image, (1, 0, 0, 0, 1, v * image.size[1])),
    'rotate': lambda image, v, place: image.rotate(v, Image.Resampling.BILINEAR),
    'auto_contrast': lambda image, v, place: ImageOps.autocontrast(image),
    'invert': lambda image, v, place: ImageOps.invert(image),
    'equalize': lambda image, v, place: ImageOps.equalize(image),
    'solarize': lambda image, v, place: ImageOps.solarize(image, v),
    'posterize': lambda image, v, place: ImageOps.posterize(image, int(v)),
    'contrast': lambda image, v, place: ImageEnhance.Contrast(image).enhance(v),
    'colour': lambda image, v, place: ImageEnhance.Color(image).enhance(v),
    'brightness': lambda image, v, place: ImageEnhance.Brightness(image).enhance(v),
    'sharpness': lambda image, v, place: ImageEnhance.Sharpness(image).enhance(v),
    'cutout': _cutout,
}
EXACT = ('invert', 'equalize', 'solarize', 'posterize')


def _images():
    """Noise, a dark gradient, one colour, and few levels, as digits have."""
    random = np.random.default_rng(0)
    ramp = np.stack([np.add.outer(np.arange(17), np.arange(17)) * k + 20 for k in (1, 2, 3)], -1)
    return [
        random.integers(0, 256, (17, 17, 3)).astype(np.uint8),
        ramp.astype(np.uint8),
        np.full((17, 17, 3), (10, 90, 200), np.uint8),
        (random.integers(0, 17, (17, 17, 1)) * 15).repeat(3, 2).astype(np.uint8),
    ]


def _draws(count, dtype=torch.float64):
    random = torch.Generator().manual_seed(1)
    sign = torch.randint(2, (count,), generator=random).to(dtype) * 2 - 1
    return sign, torch.rand(count, 2, generator=random, dtype=dtype)


def test_order_and_ranges():
    assert tuple(operation.name for operation in OPERATIONS) == NAMES == tuple(PIL)
    assert [(operation.low, operation.high) for operation in OPERATIONS] == [
        (-0.3, 0.3), (-0.3, 0.3), (-0.45, 0.45), (-0.45, 0.45), (-30, 30), (0, 1), (0, 1), (0, 1), (0, 256), (4, 8),
        (0.1, 1.9), (0.1, 1.9), (0.1, 1.9), (0.1, 1.9), (0, 0.2)
    ]  # fmt: skip
    assert [operation.name for operation in OPERATIONS if operation.is_signed] == list(NAMES[:5])


@pytest.mark.parametrize('name', NAMES)
def test_as_pil_does_it(name):
    operation, pictures = BY_NAME[name], _images()
    images = torch.stack([torch.from_numpy(picture).double().permute(2, 0, 1) / 255 for picture in pictures])
    sign, place = _draws(len(images))
    for magnitude in MAGNITUDES:
        ours = operation(images, torch.full((len(images),), magnitude, dtype=torch.float64), sign, place)
        assert ours.shape == images.shape and ours.min() >= 0 and ours.max() <= 1
        for picture, result, s, where in zip(pictures, ours, sign.tolist(), place.tolist()):
            value = operation.low + magnitude * (operation.high - operation.low)
            theirs = PIL[name](Image.fromarray(picture), value * s if operation.is_signed else value, where)
            difference = (result.permute(1, 2, 0) * 255 - torch.from_numpy(np.array(theirs)).double()).abs()
            assert difference.max() <= (1e-9 if name in EXACT else 1.5), (magnitude, difference.max())


@pytest.mark.parametrize('operation', OPERATIONS, ids=NAMES)
def test_samples_of_a_batch_do_not_mix_and_float32_is_the_same(operation):
    images = torch.stack([torch.from_numpy(picture).double().permute(2, 0, 1) / 255 for picture in _images()])
    sign, place = _draws(len(images))
    magnitude = torch.tensor([0.1171, 0.3313, 0.6197, 0.9091], dtype=torch.float64)
    together = operation(images, magnitude, sign, place)
    alone = [operation(*(part[i : i + 1] for part in (images, magnitude, sign, place))) for i in range(4)]
    torch.testing.assert_close(together, torch.cat(alone))
    single = operation(*(part.float() for part in (images, magnitude, sign, place)))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), together, rtol=0, atol=1e-4)


def _smooth_case(operation, magnitude):
    """Images in the open interval, so that no clamp is met, and values between the kinks."""
    images = 0.3 + 0.1 * torch.rand(2, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return images, torch.tensor(magnitude, dtype=torch.float64), *_draws(2)


@pytest.mark.parametrize('operation', SMOOTH, ids=lambda operation: operation.name)
def test_gradients_are_those_of_finite_differences(operation):
    images, magnitude, sign, place = _smooth_case(operation, [0.1171, 0.7719])

    def function(images, magnitude):
        return operation(images, magnitude, sign, place)

    inputs = (images.requires_grad_(), magnitude.requires_grad_())
    assert torch.autograd.grad(function(*inputs).square().sum(), magnitude)[0].abs().min() > 1e-3
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize('operation', STEPS, ids=lambda operation: operation.name)
def test_magnitudes_of_steps_move_every_pixel_by_one(operation):
    images, magnitude, sign, place = _smooth_case(operation, [0.1171, 0.7719])
    magnitude.requires_grad_()
    changed = operation(images, magnitude, sign, place)
    plain = operation(images, magnitude.detach(), sign, place)
    assert torch.equal(changed, plain)
    weights = torch.randn_like(changed)
    (gradient,) = torch.autograd.grad((changed * weights).sum(), magnitude)
    torch.testing.assert_close(gradient, weights.sum((1, 2, 3)))


@pytest.mark.parametrize('name', ['equalize', 'posterize'])
def test_pixels_of_a_staircase_have_derivative_one(name):
    images, magnitude, sign, place = _smooth_case(BY_NAME[name], [0.2, 0.6])
    images.requires_grad_()
    changed = BY_NAME[name](images, magnitude, sign, place)
    weights = torch.randn_like(changed)
    torch.testing.assert_close(torch.autograd.grad((changed * weights).sum(), images)[0], weights)


def test_a_magnitude_of_one_half_leaves_the_image_where_the_range_is_symmetric():
    images, _, sign, place = _smooth_case(None, [0.5] * 2)
    for operation in SMOOTH:
        torch.testing.assert_close(operation(images, torch.full((2,), 0.5).double(), sign, place), images)
