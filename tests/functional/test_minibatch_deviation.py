from __future__ import annotations

import pytest
import torch

from nni_wcnas.functional.minibatch_deviation import minibatch_deviation


@pytest.mark.parametrize(('count', 'groups'), [(1, [1]), (2, [2]), (31, [31]), (32, [32]), (33, [17, 16]),
                                               (64, [32, 32]), (65, [22, 22, 21])])
def test_equals_a_loop_over_groups_for_any_batch(count, groups):
    features = torch.randn(count, 3, 2, 2, dtype=torch.float64)
    result, start = minibatch_deviation(features), 0
    assert result.shape == (count, 1, 2, 2)
    for size in groups:
        part = features[start:start + size]
        deviation = ((part - part.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt().mean()
        torch.testing.assert_close(result[start:start + size], deviation.expand(size, 1, 2, 2))
        start += size
    assert start == count


def test_equal_images_have_a_finite_derivative():
    features = torch.ones(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    result = minibatch_deviation(features)
    gradient, = torch.autograd.grad(result.sum(), features)
    torch.testing.assert_close(result, torch.full_like(result, 1e-4))
    assert not gradient.any()


def test_derivatives_of_first_and_second_order():
    features = torch.randn(5, 2, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: minibatch_deviation(given, group=3), features)
    assert torch.autograd.gradgradcheck(lambda given: minibatch_deviation(given, group=3), features)
