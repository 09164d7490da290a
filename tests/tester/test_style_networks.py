from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from nni_wcnas.tester.adaptive_augmentation import AdaptiveAugmentation
from nni_wcnas.tester.equalised import EqualisedConv2d, EqualisedLinear, activated
from nni_wcnas.tester.resampling import Blurred, Doubled
from nni_wcnas.tester.style_discriminator import StyleDiscriminator
from nni_wcnas.tester.style_generator import StyleGenerator, channels_at, sides


def test_doubling_is_bilinear_and_keeps_the_mean():
    features = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    result = Doubled().double()(features)
    torch.testing.assert_close(result, F.interpolate(features, scale_factor=2, mode='bilinear'))
    torch.testing.assert_close(result.mean(dim=(2, 3)), features.mean(dim=(2, 3)))
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 4
    point = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    point[0, 0, 2, 2] = 1
    torch.testing.assert_close(Doubled().double()(point)[0, 0, 3:7, 3:7], torch.outer(taps, taps))


def test_blurring_keeps_a_constant_inside_and_removes_the_highest_frequency():
    constant, checkered = torch.ones(1, 2, 6, 6), torch.ones(1, 2, 6, 6)
    checkered[..., ::2] = -1
    inside = (..., slice(2, -2), slice(2, -2))
    assert Blurred()(constant).shape == (1, 2, 7, 7)
    torch.testing.assert_close(Blurred()(constant)[inside], torch.ones(1, 2, 3, 3))
    torch.testing.assert_close(Blurred()(checkered)[inside], torch.zeros(1, 2, 3, 3))


def test_filters_are_not_saved_and_follow_their_module():
    assert not Doubled().state_dict()
    assert Doubled().double().kernel.dtype == torch.float64


def test_equalised_layers_start_at_unit_scale_and_learn_at_their_rate():
    torch.manual_seed(0)
    features = torch.randn(500, 200)
    for rate in (1.0, 0.01):
        layer = EqualisedLinear(200, 100, bias=0.5, rate=rate)
        assert layer.weight.std().item() == pytest.approx(1 / rate, rel=0.05)
        result = layer(features)
        assert (result.mean().item(), result.std().item()) == pytest.approx((0.5, 1.0), abs=0.05)
        by_bias, = torch.autograd.grad(result.sum(), layer.bias)
        torch.testing.assert_close(by_bias, torch.full((100,), 500 * rate))
    maps = torch.randn(8, 32, 8, 8)
    assert EqualisedConv2d(32, 16, 3)(maps)[..., 1:-1, 1:-1].std().item() == pytest.approx(1, rel=0.1)
    assert EqualisedConv2d(32, 16, 3, halves=True)(Blurred()(maps)).shape == (8, 16, 4, 4)
    assert activated(features).square().mean().item() == pytest.approx(1.04, rel=0.02)  # (1 + 0.2^2) of the variance.


def test_sides_and_channels_are_the_published_ones():
    assert sides(16) == [4, 8, 16] and sides(128) == [4, 8, 16, 32, 64, 128]
    assert all(channels_at(side, 512) == min(512, 32768 // side) for side in sides(128))
    assert channels_at(128, 1) == 1


def test_generator_has_a_noise_map_for_each_layer_and_each_acts():
    torch.manual_seed(0)
    generator = StyleGenerator(3, 16, 4, 6)
    assert generator.sizes == [6, 16, 64, 64, 256, 256] and generator.inputs == 662
    latent, labels = torch.randn(2, 662), torch.tensor([0, 1])
    with torch.no_grad():
        for layer in generator.layers:
            layer.strength.fill_(0.5)
    start = 0
    for size in generator.sizes:
        other = latent.clone()
        other[0, start:start + size] += 1 + torch.arange(size) / size
        start += size
        before, after = generator(latent, labels), generator(other, labels)
        assert not torch.equal(before[0], after[0])
        torch.testing.assert_close(before[1], after[1])


def test_the_latent_is_normalised_and_noise_starts_without_strength():
    torch.manual_seed(0)
    generator = StyleGenerator(3, 16, 4, 6)
    latent, labels = torch.randn(2, 662), torch.tensor([0, 1])
    other = torch.cat([3 * latent[:, :6], torch.randn(2, 656)], dim=1)
    torch.testing.assert_close(generator(latent, labels), generator(other, labels))


@pytest.mark.parametrize('image_size', [16, 128])
def test_discriminators_head_compares_the_batch_and_its_trunk_does_not(image_size):
    torch.manual_seed(0)
    discriminator = StyleDiscriminator(3, image_size, 8, AdaptiveAugmentation(None, 1))
    assert discriminator.trunk.width == 8 * 4 * 4
    images, labels = torch.rand(3, 3, image_size, image_size) * 2 - 1, torch.tensor([0, 1, 2])
    torch.testing.assert_close(discriminator.trunk(images)[:2], discriminator.trunk(images[:2]))
    assert (discriminator(images, labels)[:2] - discriminator(images[:2], labels[:2])).abs().max() > 1e-4
    assert (discriminator(images, labels) - discriminator(images, labels.roll(1))).abs().min() > 1e-4
