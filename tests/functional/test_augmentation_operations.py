"""Each operation against PIL or scipy on 8-bit images, and its gradients against finite differences; their choice."""

import colorsys
import pickle

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from scipy.ndimage import gaussian_filter

from nni_wcnas.functional.augmentation_operations import DADA, GENTLE, OPERATIONS, chosen_operations

NAMES = ('shear_x', 'shear_y', 'translate_x', 'translate_y', 'rotate', 'auto_contrast', 'invert', 'equalize',
         'solarize', 'posterize', 'contrast', 'colour', 'brightness', 'sharpness', 'cutout')
SMOOTH = [operation for operation in OPERATIONS.values() if operation.has_gradient]
STEPS = [operation for operation in OPERATIONS.values() if not operation.has_gradient]
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
    dada = chosen_operations('dada')
    assert tuple(operation.name for operation in dada) == NAMES == tuple(PIL) == DADA
    assert [(operation.low, operation.high) for operation in dada] == [
        (-0.3, 0.3), (-0.3, 0.3), (-0.45, 0.45), (-0.45, 0.45), (-30, 30), (0, 1), (0, 1), (0, 1), (0, 256), (4, 8),
        (0.1, 1.9), (0.1, 1.9), (0.1, 1.9), (0.1, 1.9), (0, 0.2)
    ]  # fmt: skip
    assert [operation.name for operation in dada if operation.is_signed] == list(NAMES[:5])
    assert tuple(OPERATIONS) == (*NAMES, 'hue', 'blur')
    assert [(OPERATIONS[name].low, OPERATIONS[name].high) for name in ('hue', 'blur')] == [(-180, 180), (0, 0.0625)]


@pytest.mark.parametrize('name', NAMES)
def test_as_pil_does_it(name):
    operation, pictures = OPERATIONS[name], _images()
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


@pytest.mark.parametrize('operation', OPERATIONS.values(), ids=OPERATIONS)
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


def _smooth_case(operation, magnitude, size=5):
    """Images in the open interval, so that no clamp is met, and values between the kinks."""
    images = 0.3 + 0.1 * torch.rand(2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return images, torch.tensor(magnitude, dtype=torch.float64), *_draws(2)


@pytest.mark.parametrize('operation', SMOOTH, ids=lambda operation: operation.name)
def test_gradients_are_those_of_finite_differences(operation):
    size = 9 if operation.name == 'blur' else 5  # Of half a pixel at the least: narrower ones are none.
    images, magnitude, sign, place = _smooth_case(operation, [0.1171, 0.7719], size)

    def function(images, magnitude):
        return operation(images, magnitude, sign, place)

    inputs = (images.requires_grad_(), magnitude.requires_grad_())
    weights = torch.rand(images.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    gradient = torch.autograd.grad((function(*inputs) * weights).sum(), magnitude)[0].abs()
    assert gradient[1] > 1e-3 and (gradient[0] > 1e-3 or size == 9)
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
    images, magnitude, sign, place = _smooth_case(OPERATIONS[name], [0.2, 0.6])
    images.requires_grad_()
    changed = OPERATIONS[name](images, magnitude, sign, place)
    weights = torch.randn_like(changed)
    torch.testing.assert_close(torch.autograd.grad((changed * weights).sum(), images)[0], weights)


def test_a_magnitude_of_one_half_leaves_the_image_where_the_range_is_symmetric():
    images, _, sign, place = _smooth_case(None, [0.5] * 2)
    for operation in SMOOTH[:-1]:  # A blur has no other side.
        torch.testing.assert_close(operation(images, torch.full((2,), 0.5).double(), sign, place), images)


def test_hues_turn_as_the_colour_circle_does():
    """By 120 degrees red is green; the mean over channels stays; in between, the angle in the plane across grey."""
    colours = torch.tensor([[0.7, 0.2, 0.2], [0.2, 0.7, 0.2], [0.2, 0.2, 0.7]], dtype=torch.float64)
    images, place = colours[:, :, None, None].expand(3, 3, 5, 5), torch.zeros(3, 2)
    one, half = (torch.full((3,), m, dtype=torch.float64) for m in (5 / 6, 1 / 2))
    hue, sign = OPERATIONS['hue'], torch.ones(3, dtype=torch.float64)
    torch.testing.assert_close(hue(images, one, sign, place), images[[1, 2, 0]])
    torch.testing.assert_close(hue(images, one, -sign, place), images[[2, 0, 1]])
    torch.testing.assert_close(hue(images, half, sign, place), images)
    little = hue(images, half + 20 / 360, sign, place)
    torch.testing.assert_close(little.mean(1), images.mean(1))
    for before, after in zip(images[:, :, 0, 0], little[:, :, 0, 0]):
        across = before - before.mean(), after - after.mean()
        cosine = torch.nn.functional.cosine_similarity(*across, dim=0).item()
        assert cosine == pytest.approx(np.cos(np.radians(20)))
        turned = colorsys.rgb_to_hsv(*after.tolist())[0] - colorsys.rgb_to_hsv(*before.tolist())[0]
        assert 10 < turned * 360 < 30  # HSV's circle is a hexagon.


def test_blur_is_scipys_inside():
    pictures = torch.rand(2, 3, 33, 33, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = OPERATIONS['blur'](pictures, torch.tensor([0.0, 0.7]).double(), torch.ones(2), torch.zeros(2, 2))
    torch.testing.assert_close(ours[0], pictures[0])
    theirs = gaussian_filter(pictures[1].numpy(), 0.7 / 16 * 33, axes=(1, 2), truncate=8)
    assert np.abs(ours[1].numpy() - theirs)[:, 12:-12, 12:-12].max() < 1e-3


def test_gentle_operations_leave_what_a_threshold_sees():
    """A bright figure on a dark ground stays the brighter one, whatever the magnitudes; DADA's invert it."""
    images = torch.full((2, 3, 16, 16), 0.2, dtype=torch.float64)
    images[..., 5:11, 5:11] = 0.8
    figure, ground, (sign, place) = (..., slice(7, 9), slice(7, 9)), (..., slice(0, 2), slice(0, 2)), _draws(2)

    def contrast(operation, magnitude):
        changed = operation(images, torch.full((2,), magnitude).double(), sign, torch.zeros_like(place))
        return (changed[figure].mean() - changed[ground].mean()).item()

    least = {o.name: min(contrast(o, m) for m in (0.0, 1.0)) for o in chosen_operations('gentle')}
    assert set(least) == set(GENTLE)
    assert {name for name, value in least.items() if value < 0.25} <= {'translate_x', 'translate_y'}
    assert contrast(OPERATIONS['invert'], 1.0) < 0 and contrast(OPERATIONS['brightness'], 0.0) < 0.1


@pytest.mark.parametrize(
    ('choice', 'message'),
    [
        ('all', "operations='all' is no set; use dada or gentle"),
        (['hue'], 'at least two different ones'),
        (['hue', 'hue'], 'at least two different ones'),
        (['hue', 'haze'], "operations must hold only shear_x, .* not 'haze'"),
        ({'hue': [30, -30], 'blur': None}, r'range of hue \[low, high\] with low < high, not \[30, -30\]'),
        ({'hue': [-30], 'blur': None}, 'range of hue'),
        ({'hue': [-30, float('inf')], 'blur': None}, 'range of hue'),
        ({'hue': None, 'blur': [-1, 1]}, 'both at least 0'),
        ({'hue': None, 'posterize': [4, 9]}, 'at most 8'),
        ({'hue': None, 'invert': [0, 1]}, 'invert has no range'),
    ],
)
def test_choices_that_are_none(choice, message):
    with pytest.raises(ValueError, match=message):
        chosen_operations(choice)


def test_chosen_operations_are_in_the_order_that_was_told_and_have_their_own_ranges():
    chosen = chosen_operations({'blur': None, 'hue': [-30, 60]})
    assert [(operation.name, operation.low, operation.high) for operation in chosen] == [
        ('blur', 0.0, 0.0625), ('hue', -30.0, 60.0)
    ]  # fmt: skip
    assert pickle.loads(pickle.dumps(chosen)) == chosen
    images, (sign, place) = torch.rand(2, 3, 9, 9), _draws(2, torch.float32)
    wide, narrow = (chosen_operations({'hue': r, 'blur': None})[0] for r in (None, [-180, 180]))
    told = images, torch.tensor([0.2, 0.9]), sign, place
    assert torch.equal(wide(*told), narrow(*told)) and not torch.equal(wide(*told), chosen[1](*told))
