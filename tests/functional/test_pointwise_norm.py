"""Pointwise convolution and batch norm in one product against the two of them."""

import pytest
import torch
from torch.nn import functional as F

from nni_wcnas.functional.pointwise_norm import BatchStatistics, normalised

BRANCHES, ROWS, INPUTS, OUTPUTS = 3, 20, 4, 5


@pytest.fixture
def arguments():
    """Weights, gain, bias and features, float64."""
    torch.manual_seed(0)
    small = [(BRANCHES, OUTPUTS, INPUTS), (BRANCHES, OUTPUTS), (BRANCHES, OUTPUTS)]
    shapes = [*small, *[(ROWS, INPUTS)] * BRANCHES]
    return [torch.randn(shape, dtype=torch.float64).add(0.5).requires_grad_() for shape in shapes]


def fast(arguments, total=False, statistics=None):
    weights, gain, bias, *features = arguments
    targets = [0] * BRANCHES if total else None
    return normalised(features, weights, gain, bias, 1e-5, targets=targets, statistics=statistics)


def one_after_the_other(arguments, statistics=None):
    weights, gain, bias, *features = arguments
    running = statistics or BatchStatistics([None] * BRANCHES, [None] * BRANCHES)
    return [
        F.batch_norm(features[i] @ weights[i].T, running.mean[i], running.variance[i], gain[i], bias[i],
                     statistics is None, 0.0, 1e-5)
        for i in range(BRANCHES)
    ]  # fmt: skip


@pytest.mark.parametrize('evaluation', [False, True])
@pytest.mark.parametrize('total', [False, True])
def test_values_and_gradients(arguments, total, evaluation):
    running = BatchStatistics(torch.randn(BRANCHES, OUTPUTS).double(), torch.rand(BRANCHES, OUTPUTS).double())
    running = running if evaluation else None
    outputs, _ = fast(arguments, total=total, statistics=running)
    expected = one_after_the_other(arguments, running)
    expected = [sum(expected)] if total else expected
    arriving = [torch.randn_like(x) for x in expected]
    for mine, theirs in zip(outputs, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)
    pairs = zip(
        torch.autograd.grad(outputs, arguments, arriving), torch.autograd.grad(expected, arguments, arriving),
        strict=True,
    )  # fmt: skip
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11)


def test_statistics_are_those_of_the_convolution(arguments):
    weights, _, _, *features = arguments
    _, statistics = fast(arguments)
    outputs = torch.stack([d @ w.T for d, w in zip(features, weights, strict=True)])
    torch.testing.assert_close(statistics.mean, outputs.mean(1).detach())
    torch.testing.assert_close(statistics.variance, outputs.var(1, correction=0).detach())
    assert not statistics.mean.requires_grad and not statistics.variance.requires_grad


@pytest.mark.parametrize('total', [False, True])
def test_second_derivatives(arguments, total):
    assert torch.autograd.gradgradcheck(lambda *a: tuple(fast(a, total=total)[0]), arguments, atol=1e-4)


@pytest.mark.parametrize('create_graph', [False, True])
def test_one_branch_may_depend_on_another(arguments, create_graph):
    """Its gradient goes through the branch once, whether or not somebody differentiates again."""
    weights, gain, bias, first, *_ = arguments
    found = []
    for function in (fast, one_after_the_other):
        features = [first, 2 * first.tanh(), first.square()]
        outputs = function([weights, gain, bias, *features])
        outputs = outputs[0] if function is fast else outputs
        total = sum(output.pow(3).sum() for output in outputs)
        found += torch.autograd.grad(total, first, create_graph=create_graph)
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('evaluation', [False, True])
def test_full_precision_under_autocast(arguments, evaluation):
    running = BatchStatistics(torch.zeros(BRANCHES, OUTPUTS), torch.ones(BRANCHES, OUTPUTS)) if evaluation else None
    weights, gain, bias, *features = [x.detach().float().requires_grad_() for x in arguments]
    half = [x.bfloat16() for x in features]
    expected, _ = fast([weights, gain, bias, *[x.float() for x in half]], total=True, statistics=running)
    with torch.autocast('cpu', torch.bfloat16):
        output, _ = fast([weights, gain, bias, *half], total=True, statistics=running)
    assert output[0].dtype == torch.float32 and torch.equal(output[0], expected[0])
    output[0].sum().backward()
    assert features[0].grad.isfinite().all()


def test_gradients_of_some_inputs_only(arguments):
    everything = torch.autograd.grad(fast(arguments)[0][1].square().sum(), arguments)
    for position in (0, 1, 2, 4):
        leaves = [x.detach().requires_grad_(i == position) for i, x in enumerate(arguments)]
        (alone,) = torch.autograd.grad(fast(leaves)[0][1].square().sum(), leaves[position])
        torch.testing.assert_close(alone, everything[position], rtol=0, atol=1e-12)


def test_a_constant_channel_is_finite():
    features = torch.full((8, 2), 3.1)
    (output,), statistics = normalised([features], torch.ones(1, 1, 2), torch.ones(1, 1), torch.zeros(1, 1), 1e-5)
    assert output.isfinite().all() and output.abs().max() < 0.1
    assert statistics.variance.abs().max() < 1e-4


def test_float32_is_as_accurate_as_batch_norm():
    """Features with a mean of the size of their deviation, as a convolution of rectified ones has."""
    torch.manual_seed(0)
    features = torch.randn(4096, 16).relu() @ torch.randn(16, 16) / 4
    weights, gain, bias = torch.randn(1, 16, 16), torch.ones(1, 16), torch.zeros(1, 16)
    exact, _ = normalised([features.double()], weights.double(), gain.double(), bias.double(), 1e-5)
    mine, _ = normalised([features], weights, gain, bias, 1e-5)
    torchs = F.batch_norm(features @ weights[0].T, None, None, None, None, True)
    error, usual = (mine[0] - exact[0]).abs().max(), (torchs - exact[0]).abs().max()
    assert error < 5 * usual < 1e-4


LAYOUTS = [([2, 2], [0, 0, 1, 1]), ([4], [0, 0, 1, 1]), ([3, 1], [0, 1, 2, 1]), ([2, 1, 1], None), ([4], None)]
"""Branches of each matrix, and the sums that they go into."""


def side_by_side(arguments, widths, targets, statistics=None):
    weights, gain, bias, *features = arguments
    starts = [sum(widths[:i]) for i in range(len(widths))]
    joined = [torch.cat(features[start : start + width], 1) for start, width in zip(starts, widths, strict=True)]
    outputs, _ = normalised(joined, weights, gain, bias, 1e-5, targets=targets, statistics=statistics)
    return torch.cat(outputs, 1)


@pytest.fixture
def four(arguments):
    """As ``arguments``, of four branches."""
    weights, gain, bias, *features = (x.detach() for x in arguments)
    small = [torch.cat([x, x[:1].flip(-1) * 2]) for x in (weights, gain, bias)]
    return [x.requires_grad_() for x in (*small, *features, features[0].roll(1, 0) ** 2)]


@pytest.mark.parametrize('evaluation', [False, True])
@pytest.mark.parametrize(('widths', 'targets'), LAYOUTS)
def test_branches_side_by_side(four, widths, targets, evaluation):
    """As each branch in a matrix of its own, first and second derivatives included."""
    running = BatchStatistics(torch.randn(4, OUTPUTS).double(), torch.rand(4, OUTPUTS).double()) if evaluation else None
    found = []
    for columns in (widths, [1] * 4):
        output = side_by_side(four, columns, targets, running)
        first = torch.autograd.grad(output.pow(3).sum(), four, create_graph=True)
        plain = torch.autograd.grad(side_by_side(four, columns, targets, running).pow(3).sum(), four)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), four)
        found.append([output, *first, *plain, *second])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(('widths', 'targets'), LAYOUTS[:3])
def test_second_derivatives_side_by_side(four, widths, targets):
    assert torch.autograd.gradcheck(lambda *a: side_by_side(a, widths, targets), four)
    assert torch.autograd.gradgradcheck(lambda *a: side_by_side(a, widths, targets), four, atol=1e-4)
