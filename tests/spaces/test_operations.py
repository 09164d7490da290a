"""The candidate operations against loops, hand-worked receptive fields and NNI hub's own."""

import itertools

import pytest
import torch
from nni.nas.hub.pytorch.nasnet import OPS
from torch.nn import functional as F

from nni_wcnas.spaces.operations import (
    BENCHMARK_PRIMITIVES,
    OPERATIONS,
    PRIMITIVES,
    FactorizedReduce,
    ReLUConvNorm,
    Zero,
    build_operation,
)


@pytest.mark.parametrize('name', OPERATIONS)
def test_shapes(name):
    for stride, height, width in itertools.product((1, 2), (7, 8), (5, 6)):
        output = build_operation(name, 4, stride, affine=False, pool_norm=True)(torch.randn(3, 4, height, width))
        assert output.shape == (3, 4, -(-height // stride), -(-width // stride))


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('name', [name for name in OPERATIONS if name != 'noise'])
def test_equals_the_hub(name, stride):
    ours, theirs = build_operation(name, 6, stride), OPS[name.removeprefix('nor_')](6, stride, True)
    pairs = list(zip(ours.parameters(), theirs.parameters(), strict=True))
    with torch.no_grad():
        for mine, other in pairs:
            assert mine.shape == other.shape
            other.copy_(mine.normal_())
    for size in (8, 9):
        x = torch.randn(2, 6, size, size)
        torch.testing.assert_close(ours(x), theirs(x))


def reach(name, size=21):
    """Offsets from the middle that the middle's output depends on."""
    operation = build_operation(name, 1, affine=False).double().eval()
    with torch.no_grad():
        for parameter in operation.parameters():
            parameter.fill_(1.0)
    x = torch.ones(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    operation(x)[0, 0, size // 2, size // 2].backward()
    return {tuple(offset) for offset in (x.grad[0, 0].nonzero() - size // 2).tolist()}


@pytest.mark.parametrize(
    ('name', 'offsets'),
    [
        ('dil_conv_3x3', range(-2, 3, 2)),
        ('dil_conv_5x5', range(-4, 5, 2)),
        ('sep_conv_3x3', range(-2, 3)),
        ('sep_conv_5x5', range(-4, 5)),
        ('max_pool_3x3', None),
        ('avg_pool_3x3', range(-1, 2)),
        ('skip_connect', range(1)),
    ],
)
def test_receptive_field(name, offsets):
    if offsets is None:
        assert reach(name) <= set(itertools.product(range(-1, 2), repeat=2))
    else:
        assert reach(name) == set(itertools.product(offsets, repeat=2))


@pytest.mark.parametrize(('height', 'width'), [(6, 8), (5, 7), (6, 5)])
def test_factorized_reduce_against_a_loop(height, width):
    reduce = FactorizedReduce(3, 5).double().eval()
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    even, odd = reduce.conv_even.weight[:, :, 0, 0], reduce.conv_odd.weight[:, :, 0, 0]
    assert (len(even), len(odd)) == (2, 3)
    padded = F.pad(x.clamp(min=0), (0, 2, 0, 2))
    output = reduce(x) * (1 + reduce.norm.eps) ** 0.5  # An untrained norm divides by the square root of 1 + eps.
    for i, j in itertools.product(range(-(-height // 2)), range(-(-width // 2))):
        expected = torch.cat([padded[:, :, 2 * i, 2 * j] @ even.T, padded[:, :, 2 * i + 1, 2 * j + 1] @ odd.T], dim=1)
        torch.testing.assert_close(output[:, :, i, j], expected)


def test_average_pool_ignores_padding():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert build_operation('avg_pool_3x3', 1)(x)[0, 0, 0, 0] == (0 + 1 + 4 + 5) / 4


@pytest.mark.parametrize(('stride', 'size'), [(1, 33), (2, 17)])
def test_noise_is_standard_normal_and_ignores_its_input(stride, size):
    noise, x = build_operation('noise', 4, stride), torch.full((64, 4, 33, 33), 1e6, requires_grad=True)
    torch.manual_seed(0)
    output = noise(x)
    assert output.shape == (64, 4, size, size) and not output.requires_grad
    assert abs(output.mean().item()) < 0.01 and abs(output.std().item() - 1) < 0.01
    assert output.square().square().mean().item() == pytest.approx(3.0, abs=0.1), 'the fourth moment of a normal'
    assert not torch.equal(noise(x), output), 'drawn anew'
    torch.manual_seed(0)
    assert torch.equal(noise(-x), output), "from torch's global state alone"
    assert noise(x.double().bfloat16()).dtype == torch.bfloat16 and not list(noise.parameters())


def test_zero_is_zero_even_of_infinity():
    x = torch.full((1, 2, 5, 5), float('inf'))
    assert torch.equal(Zero(2)(x), torch.zeros(1, 2, 3, 3))


def test_pool_norm_is_for_pools_only_and_never_affine():
    for name in OPERATIONS:
        plain = build_operation(name, 4, 2, affine=True)
        normed = build_operation(name, 4, 2, affine=True, pool_norm=True)
        if 'pool' in name:
            assert not list(normed.parameters())
            pooled = normed(torch.randn(8, 4, 8, 8))
            torch.testing.assert_close(pooled.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-6, rtol=0)
        else:
            assert [type(part) for part in normed.modules()] == [type(part) for part in plain.modules()]


@pytest.mark.parametrize('name', [name for name in OPERATIONS if 'conv' in name])
def test_affine_reaches_every_norm(name):
    for affine in (True, False):
        norms = [
            part
            for part in build_operation(name, 4, 2, affine=affine).modules()
            if isinstance(part, torch.nn.BatchNorm2d)
        ]
        assert norms
        assert all(norm.affine is affine for norm in norms)


def test_relu_conv_norm():
    block = ReLUConvNorm(3, 4, affine=False).eval()
    x = torch.randn(2, 3, 4, 4)
    expected = F.conv2d(x.clamp(min=0), block[1].weight) / (1 + block[2].eps) ** 0.5
    torch.testing.assert_close(block(x), expected)
    assert len(list(block.parameters())) == 1


@pytest.mark.parametrize('name', OPERATIONS)
def test_input_is_not_changed(name):
    x = torch.randn(2, 4, 8, 8)
    before = x.clone()
    build_operation(name, 4, 2)(x)
    assert torch.equal(x, before)


def test_errors():
    with pytest.raises(ValueError, match="unknown operation 'sep_conv3x3': did you mean 'sep_conv_3x3'"):
        build_operation('sep_conv3x3', 4)
    with pytest.raises(ValueError, match='stride is 3'):
        build_operation('none', 4, 3)
    with pytest.raises(ValueError, match='out_channels is 1'):
        FactorizedReduce(4, 1)


def test_a_newcomer_needs_one_entry():
    OPERATIONS['pointwise'] = lambda channels, stride, affine: ReLUConvNorm(
        channels, channels, stride=stride, affine=affine
    )
    try:
        assert build_operation('pointwise', 4, 2)(torch.randn(1, 4, 5, 5)).shape == (1, 4, 3, 3)
    finally:
        del OPERATIONS['pointwise']


def test_primitives_are_among_the_operations():
    assert set(PRIMITIVES) < set(OPERATIONS) and set(BENCHMARK_PRIMITIVES) < set(OPERATIONS)
