"""Products of matrices that stand side by side against those of one after the other."""

import pytest
import torch

from nni_wcnas.functional.side_by_side import add_times, outer, repeated, times

ROWS, INPUTS, OUTPUTS = 6, 3, 2


def matrices(count):
    """D, Q and G, float64."""
    torch.manual_seed(0)
    shapes = (ROWS, count * INPUTS), (count, INPUTS, OUTPUTS), (ROWS, count * OUTPUTS)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize('gradients', [False, True])
@pytest.mark.parametrize('count', [1, 3])
def test_values(count, gradients):
    d, q, g = matrices(count)
    expected = torch.cat([part @ matrix for part, matrix in zip(d.chunk(count, 1), q, strict=True)], 1)
    products = torch.stack([one.T @ other for one, other in zip(g.chunk(count, 1), d.chunk(count, 1), strict=True)])
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(times(d, q), expected)
        torch.testing.assert_close(outer(g, d, count), products)
        total = g.clone()
        add_times(total, d, q)
        torch.testing.assert_close(total, g + expected)


@pytest.mark.parametrize('count', [1, 3])
def test_first_and_second_derivatives(count):
    d, q, g = matrices(count)

    def added(g, d, q):
        total = g.clone()
        add_times(total, d, q)
        return total

    for function, inputs in [(times, (d, q)), (lambda g, d: outer(g, d, count), (g, d)), (added, (g, d, q))]:
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


def test_adding_into_some_columns():
    d, q, g = (x.detach() for x in matrices(3))
    total = torch.zeros(ROWS, 2 + g.shape[1], dtype=g.dtype)
    add_times(total[:, 2:], d, q)
    assert not total[:, :2].any() and total[:, 2:].equal(times(d, q))


@pytest.mark.parametrize('count', [1, 4])
def test_repeated(count):
    d, *_ = matrices(1)
    assert repeated(d, count).equal(torch.cat([d] * count, 1))
    repeated(d, count).sum().backward()
    assert d.grad.equal(torch.full_like(d, count))
