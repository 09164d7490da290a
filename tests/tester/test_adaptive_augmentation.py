from __future__ import annotations

import math

import pytest
import torch

from nni_wcnas.functional.hypergradient import replayed
from nni_wcnas.tester import adaptive_augmentation as module
from nni_wcnas.tester.adaptive_augmentation import AdaptiveAugmentation


def _augmentation(probability: float, **options) -> AdaptiveAugmentation:
    augmentation = AdaptiveAugmentation(**{'target': 0.6, 'speed': 1000, **options}).double()
    augmentation.probability.fill_(probability)
    return augmentation


def _images(count: int = 6, side: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, side, side, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize(('signs', 'direction'), [([1, 1, 1, 1], 1), ([1, 1, 1, -1], -1), ([-1, -1, -1, -1], -1),
                                                  ([1, 1, 1, 1, -1], 0)])
def test_probability_moves_towards_the_target_at_the_given_speed(signs, direction):
    """The mean signs are 1, 0.5, -1 and 0.6."""
    augmentation = _augmentation(0.5)
    scores = 3 * torch.tensor(signs, dtype=torch.float64)
    augmentation.adapt(scores)
    assert augmentation.probability.item() == pytest.approx(0.5 + direction * len(signs) / 1000, abs=1e-12)


def test_spreads_are_the_papers():
    """Of a translation's share, and of base-2 logarithms of scales, contrast and saturation; appendix B."""
    assert (module._SHIFT, module._BRIGHTNESS) == (0.125, 0.2)
    logarithms = (module._LOG_SCALE, module._LOG_CONTRAST, module._LOG_SATURATION)
    assert [value / math.log(2) for value in logarithms] == pytest.approx([0.2, 0.5, 1.0])


def test_probability_rises_from_0_to_1_in_as_many_images_as_said_and_stays_within():
    augmentation = _augmentation(0.0)
    sure = torch.ones(100)
    for _ in range(9):
        augmentation.adapt(sure)
    assert augmentation.probability.item() == pytest.approx(0.9)
    for scores, limit in ((sure, 1.0), (-sure, 0.0)):
        for _ in range(12):
            augmentation.adapt(scores)
        assert augmentation.probability.item() == limit


@pytest.mark.parametrize('target', [None, 0.0])
def test_without_a_target_nothing_is_drawn_or_learned(target):
    augmentation = _augmentation(0.5, target=target)
    state = torch.get_rng_state()
    assert augmentation.draw(4, 16) is None
    augmentation.adapt(torch.ones(4))
    assert augmentation.probability == 0.5 and torch.equal(state, torch.get_rng_state())


def test_images_are_left_alone_at_0_and_all_changed_at_1():
    images = _images()
    torch.testing.assert_close(_augmentation(0.0)(images, _augmentation(0.0).draw(6, 16)), images)
    augmentation = _augmentation(1.0)
    result = augmentation(images, augmentation.draw(6, 16))
    assert ((result - images).abs().amax(dim=(1, 2, 3)) > 0.01).all() and result.isfinite().all()


def test_each_change_happens_with_its_probability():
    torch.manual_seed(0)
    draws = _augmentation(0.3).draw(20_000, 16)
    assert (draws.brightness != 0).double().mean().item() == pytest.approx(0.3, abs=0.02)
    assert draws.brightness[draws.brightness != 0].std().item() == pytest.approx(0.2, rel=0.05)
    # A mirror image has a negative determinant: half of those that may be one.
    plane = draws.plane[:, :, :2]
    assert (plane.det() < 0).double().mean().item() == pytest.approx(0.15, abs=0.02)
    # Scaling by s changes areas by s^2; anisotropic scaling does not.
    sizes = plane.det().abs().log() / 2
    assert (sizes.abs() > 1e-9).double().mean().item() == pytest.approx(0.3, abs=0.02)
    assert sizes[sizes.abs() > 1e-9].std().item() == pytest.approx(0.2 * math.log(2), rel=0.05)
    # Rotated by no multiple of a quarter turn, or stretched after the first rotation.
    skewed = (plane[:, 0, 0] * plane[:, 0, 1]).abs() > 1e-9
    assert skewed.double().mean().item() == pytest.approx(0.3, abs=0.02)
    # Grey stays grey, but for contrast and its flip.
    grey = draws.colours.sum(dim=2)
    torch.testing.assert_close(grey, grey[:, :1].expand(-1, 3))
    assert (grey[:, 0] < 0).double().mean().item() == pytest.approx(0.15, abs=0.02)
    contrast = grey[:, 0].abs().log()
    assert (contrast.abs() > 1e-9).double().mean().item() == pytest.approx(0.3, abs=0.02)


def test_colours_turn_about_grey():
    """Without contrast and flip, luma stays; a third of a turn exchanges the colours."""

    class Turned(AdaptiveAugmentation):
        def _normal(self, *shape):
            return torch.zeros(shape, dtype=self.probability.dtype)

        def _integer(self, count, below):
            return torch.zeros(count, dtype=self.probability.dtype)

        def _uniform(self, *shape):
            return torch.full(shape, 2 / 3, dtype=self.probability.dtype)

    augmentation = Turned(0.6, 1000).double()
    augmentation.probability.fill_(1.0)
    colours = augmentation.draw(1, 16).colours[0]
    torch.testing.assert_close(colours @ colours.T, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(colours @ torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64),
                               torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64))


def test_whole_shifts_are_of_whole_pixels_at_most_an_eighth():
    class Shifts(AdaptiveAugmentation):
        """With all normal numbers zero and all integers zero, whole shifts and rotations are left."""

        def _normal(self, *shape):
            return torch.zeros(shape, dtype=self.probability.dtype)

        def _integer(self, count, below):
            return torch.zeros(count, dtype=self.probability.dtype)

    augmentation = Shifts(0.6, 1000).double()
    augmentation.probability.fill_(1.0)
    shifts = augmentation.draw(500, 32).plane[:, :, 2] * 16
    torch.testing.assert_close(shifts, shifts.round())
    assert shifts.abs().max() == 4


def test_random_numbers_are_replayed_and_fixed_draws_are_twice_differentiable():
    augmentation, images = _augmentation(0.8), _images(3, 4).requires_grad_()
    draw = replayed(augmentation.draw, torch.device('cpu'))
    first, again = draw(3, 4), draw(3, 4)
    assert all(torch.equal(one, other) for one, other in zip(first, again))
    assert torch.autograd.gradgradcheck(lambda given: augmentation(given, first).square(), images)
