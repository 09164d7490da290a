"""The climb of a perturbation against its closed form on a linear function, and what saliency is."""

import pytest
import torch

from nni_wcnas.functional.saliency import ascent, output_change, saliency

NUMBERS = {'epsilon': 0.08, 'step_size': 0.02, 'steps': 7}


def test_climb_of_a_linear_function():
    """Seven steps lead to the edge of the inner ball, the last one along the gradient."""
    slope = torch.tensor([[4.0, -2.0, 1.0], [0.5, 0.25, -0.5]])
    pixels = torch.full((2, 3), 0.5)
    found = ascent(lambda d: (slope * d).sum(), pixels, **NUMBERS)
    torch.testing.assert_close(found.start, 0.06 * slope.sign())
    rate = torch.tensor([[0.02 / 4], [0.02 / 0.5]]).expand(2, 3)
    torch.testing.assert_close(found.end, found.start + rate * slope)
    torch.testing.assert_close(found.gain, rate)
    torch.testing.assert_close(found.change, (slope * found.start).sum())
    torch.testing.assert_close(saliency(found.end)[0], torch.tensor([1.0, 0.07 / 0.08, 0.065 / 0.08]))


def test_pixels_stay_in_their_range_where_the_gain_is_zero():
    pixels = torch.tensor([[0.0, 1.0, 0.5, 0.01, 0.99]])
    found = ascent(lambda d: (torch.tensor([-1.0, 1.0, 1.0, -1.0, 1.0]) * d).sum(), pixels, **NUMBERS)
    assert found.end[0].tolist() == pytest.approx([0, 0, 0.08, -0.01, 0.01])
    assert found.gain[0].tolist() == pytest.approx([0, 0, 0.02, 0, 0])


def test_one_step_is_the_plain_one_from_the_random_start():
    pixels = torch.full((4, 1, 2, 2), 0.5)
    torch.manual_seed(0)
    drawn = 0.06 * (2 * torch.rand(4, 1, 2, 2) - 1)
    torch.manual_seed(0)
    found = ascent(lambda d: d.pow(3).sum(), pixels, **{**NUMBERS, 'steps': 1})
    torch.testing.assert_close(found.start, drawn)
    rise = 3 * drawn**2
    torch.testing.assert_close(found.end, drawn + 0.02 * rise / rise.amax((1, 2, 3), keepdim=True))


def test_steps_are_gradients_taken():
    for steps in (1, 2, 7):
        taken = []
        ascent(lambda d, taken=taken: taken.append(d) or d.sum(), torch.rand(2, 3), **{**NUMBERS, 'steps': steps})
        assert len(taken) == steps


def test_an_output_that_pixels_do_not_reach_leaves_the_random_start():
    found = ascent(lambda d: torch.zeros(()), torch.full((2, 3), 0.5), **NUMBERS)
    assert torch.equal(found.end, found.start) and not found.gain.any()


def test_output_change_is_the_divergence_of_torch():
    logits, clean = torch.randn(6, 4), torch.randn(6, 4)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=clean), torch.distributions.Categorical(logits=logits)
    )
    torch.testing.assert_close(output_change(logits, clean), expected.sum())


def test_saliency_is_largest_at_one_in_each_image():
    found = saliency(torch.randn(5, 3, 4, 4))
    assert found.amax((1, 2, 3)).tolist() == [1.0] * 5 and found.min() >= 0
