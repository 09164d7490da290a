"""Every other pixel."""

import pytest
import torch

from nni_wcnas.functional.corners import corners


@pytest.mark.parametrize('size', [(4, 6), (5, 4), (3, 1)])
def test_values_and_derivatives(size):
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    even, odd = corners(x, (0, 1))
    assert even.equal(x[:, :, ::2, ::2]) and odd.equal(x[:, :, 1::2, 1::2])
    assert torch.autograd.gradcheck(lambda x: corners(x, (0, 1)), x)
    assert torch.autograd.gradgradcheck(lambda x: corners(x.square(), (0, 1)), x)


def test_the_gradient_is_channels_last():
    x = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    (even,) = corners(x)
    (gradient,) = torch.autograd.grad(even.sum(), x)
    assert even.is_contiguous(memory_format=torch.channels_last)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('starts', [(0, 0), (1, 0, 1), (0, 2), (-1,)])
def test_starts_on_the_same_pixels_are_refused(starts):
    with pytest.raises(ValueError, match='starts must be 0, 1 or both, each once'):
        corners(torch.zeros(1, 1, 4, 4), starts)
