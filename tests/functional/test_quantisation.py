from __future__ import annotations

import pytest
import torch

from nni_wcnas.functional.quantisation import (
    Dictionary,
    assign,
    look_up,
    quantisation_loss,
    rows,
    updated,
)


@pytest.fixture
def features() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 3, 4, 5, dtype=torch.float64)


@pytest.fixture
def dictionary() -> Dictionary:
    torch.manual_seed(1)
    codes, sums = torch.randn(2, 6, 3, dtype=torch.float64)
    return Dictionary(codes, torch.rand(6, dtype=torch.float64) + 0.5, sums)


def test_rows_and_look_up_are_inverse(features):
    table = rows(features)
    assert table.shape == (40, 3)
    assert torch.equal(table[1 * 20 + 2 * 5 + 3], features[1, :, 2, 3])
    assert torch.equal(look_up(table, torch.arange(40), features.shape), features)


def test_assignment_against_plain_loops(features, dictionary):
    table = rows(features)
    statistics = assign(table, dictionary.codes)
    counts, sums = [0.0] * 6, torch.zeros(6, 3, dtype=torch.float64)
    for index, row in enumerate(table):
        nearest = min(range(6), key=lambda code: ((row - dictionary.codes[code]) ** 2).sum().item())
        assert statistics.indices[index] == nearest
        counts[nearest] += 1
        sums[nearest] += row
    assert statistics.counts.tolist() == counts
    torch.testing.assert_close(statistics.sums, sums)


def test_assignment_has_no_gradient_and_takes_half_precision(features, dictionary):
    statistics = assign(rows(features).requires_grad_(), dictionary.codes)
    assert not any(part.requires_grad for part in statistics)
    codes = dictionary.codes.float()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        statistics = assign(rows(features).bfloat16(), codes)
    assert statistics.sums.dtype == torch.float32


def test_update_against_the_published_formula(features, dictionary):
    # As in vector-quantize-pytorch: one-hot assignment, two lerps, Laplace smoothing of the cluster sizes, ratio.
    momentum, epsilon = 0.7, 1e-5
    table = rows(features)
    one_hot = torch.nn.functional.one_hot(torch.cdist(table, dictionary.codes).argmin(dim=1), 6).double()  # (R, K)
    cluster_size = torch.lerp(one_hot.sum(dim=0), dictionary.cluster_size, momentum)
    sums = torch.lerp(one_hot.T @ table, dictionary.sums, momentum)
    smoothed = (cluster_size + epsilon) / (cluster_size.sum() + 6 * epsilon) * cluster_size.sum()
    before = [part.clone() for part in dictionary]
    after = updated(dictionary, assign(table, dictionary.codes), momentum)
    torch.testing.assert_close(after, Dictionary(sums / smoothed[:, None], cluster_size, sums), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(old, now) for old, now in zip(before, dictionary, strict=True))


def test_update_is_differentiable_in_momentum(features, dictionary):
    statistics = assign(rows(features), dictionary.codes)
    momentum = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda value: tuple(updated(dictionary, statistics, value)), momentum)
    assert torch.autograd.gradgradcheck(lambda value: updated(dictionary, statistics, value).codes, momentum)


def test_loss_against_plain_loops_and_its_derivatives(features, dictionary):
    statistics = assign(rows(features), dictionary.codes)
    pairs = zip(rows(features), statistics.indices, strict=True)
    expected = sum(((row - dictionary.codes[index]) ** 2).sum().item() for row, index in pairs)
    value = quantisation_loss(features, statistics.indices, dictionary.codes)
    assert value.item() == pytest.approx(expected / features.numel(), rel=1e-12)

    def loss(x: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return quantisation_loss(x, statistics.indices, codes)

    inputs = (features.requires_grad_(), dictionary.codes.clone().requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)
