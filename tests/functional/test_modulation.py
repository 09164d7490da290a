from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from nni_wcnas.functional.modulation import modulated_convolution


def _inputs(size: int, count: int = 3):
    random = torch.Generator().manual_seed(0)
    shapes = (count, 2, 5, 4), (4, 2, size, size), (count, 2)
    return tuple(torch.randn(shape, generator=random, dtype=torch.float64) for shape in shapes)


@pytest.mark.parametrize('demodulates', [True, False])
@pytest.mark.parametrize('size', [1, 3])
def test_equals_a_loop_over_images_with_explicit_kernels(size, demodulates):
    features, kernel, styles = _inputs(size)
    expected = []
    for image, style in zip(features, styles):
        own = torch.empty_like(kernel)
        for out in range(4):
            for channel in range(2):
                own[out, channel] = style[channel] * kernel[out, channel]
            if demodulates:
                own[out] /= (own[out].square().sum() + 1e-8).sqrt()
        expected.append(F.conv2d(image[None], own, padding=size // 2))
    result = modulated_convolution(features, kernel, styles, demodulates=demodulates)
    torch.testing.assert_close(result, torch.cat(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('demodulates', [True, False])
def test_derivatives_of_first_and_second_order(demodulates):
    inputs = [value.requires_grad_() for value in _inputs(3, count=2)]
    inputs[0] = inputs[0][:, :, :2, :2]

    def convolution(*given):
        return modulated_convolution(*given, demodulates=demodulates)

    assert torch.autograd.gradcheck(convolution, inputs)
    assert torch.autograd.gradgradcheck(convolution, inputs)


def test_demodulation_takes_the_scale_of_styles_away_and_keeps_unit_variance():
    torch.manual_seed(0)
    features, kernel, styles = torch.randn(4, 64, 16, 16), torch.randn(8, 64, 3, 3), torch.rand(4, 64) + 0.5
    result = modulated_convolution(features, kernel, styles)
    torch.testing.assert_close(result, modulated_convolution(features, kernel, 7 * styles), rtol=1e-4, atol=1e-4)
    assert result[:, :, 1:-1, 1:-1].var().item() == pytest.approx(1, rel=0.1)


def test_a_style_of_zeros_is_finite():
    features, kernel, styles = _inputs(3)
    styles = torch.zeros_like(styles).requires_grad_()
    result = modulated_convolution(features, kernel, styles)
    gradient, = torch.autograd.grad(result.sum(), styles)
    assert not result.any() and gradient.isfinite().all()
