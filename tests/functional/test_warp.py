from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from nni_wcnas.functional.warp import warped


def _images(side: int = 6, count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _matrices(count: int = 4) -> torch.Tensor:
    drawn = torch.randn(count, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.eye(2, 3, dtype=torch.float64) + 0.7 * drawn


@pytest.mark.parametrize('side', [2, 5, 16])
def test_equals_torchs_sampling_with_mirrored_edges(side):
    images, matrices = _images(side), _matrices()
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    expected = F.grid_sample(images, grid, padding_mode='reflection', align_corners=False)
    torch.testing.assert_close(warped(images, matrices), expected, rtol=1e-10, atol=1e-10)


def test_identity_quarter_turn_and_whole_pixels_are_exact():
    images = _images()
    identity = torch.eye(2, 3, dtype=torch.float64)
    quarter, shift = identity.clone(), identity.clone()
    quarter[:, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    shift[0, 2] = 2 * 2 / 6  # Two pixels to the left.
    torch.testing.assert_close(warped(images, identity.expand(4, 2, 3)), images)
    torch.testing.assert_close(warped(images, quarter.expand(4, 2, 3)), images.rot90(dims=(2, 3)))
    torch.testing.assert_close(warped(images, shift.expand(4, 2, 3))[..., :4], images[..., 2:])
    torch.testing.assert_close(warped(images, shift.expand(4, 2, 3))[..., 4:], images[..., 4:].flip(3))


def test_derivatives_of_first_and_second_order():
    images, matrices = _images(3, 2).requires_grad_(), _matrices(2)
    assert torch.autograd.gradcheck(lambda given: warped(given, matrices).square(), images)
    assert torch.autograd.gradgradcheck(lambda given: warped(given, matrices).square(), images)


def test_far_outside_is_still_the_image():
    images = _images().clamp(-1, 1)
    far = torch.tensor([[3.0, 0.0, 50.0], [0.0, 3.0, -math.pi * 20]], dtype=torch.float64)
    assert warped(images, far.expand(4, 2, 3)).abs().max() <= 1
