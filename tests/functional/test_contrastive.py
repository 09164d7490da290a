from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from nni_wcnas.functional.contrastive import conditional_contrastive


def _batch(labels: list[int], size: int = 5):
    random = torch.Generator().manual_seed(0)
    embeddings, proxies = (torch.randn(len(labels), size, generator=random, dtype=torch.float64) for _ in range(2))
    return embeddings, proxies, torch.tensor(labels)


def _by_loops(embeddings, proxies, labels, temperature: float) -> float:
    """The equation, image by image."""
    total = 0.0
    for i, own in enumerate(embeddings):
        proxy = math.exp(F.cosine_similarity(own, proxies[i], dim=0).item() / temperature)
        numerator = denominator = proxy
        for j, other in enumerate(embeddings):
            if j != i:
                term = math.exp(F.cosine_similarity(own, other, dim=0).item() / temperature)
                denominator += term
                numerator += term * (labels[i] == labels[j]).item()
        total -= math.log(numerator / denominator)
    return total / len(embeddings)


@pytest.mark.parametrize('labels', [[0, 1, 0, 2, 0, 1], [0, 1, 2, 3], [3], [1, 1, 1]])
@pytest.mark.parametrize('temperature', [0.1, 1.0, 7.0])
def test_equals_a_double_loop(labels, temperature):
    batch = _batch(labels)
    loss = conditional_contrastive(*batch, temperature)
    assert loss.item() == pytest.approx(_by_loops(*batch, temperature), rel=1e-12, abs=1e-14)
    assert loss.item() == pytest.approx(0.0, abs=1e-14) if len(set(labels)) == 1 else loss > 0


def test_only_directions_count():
    embeddings, proxies, labels = _batch([0, 1, 0])
    torch.testing.assert_close(conditional_contrastive(3 * embeddings, 0.1 * proxies, labels, 0.5),
                               conditional_contrastive(embeddings, proxies, labels, 0.5))


@pytest.mark.parametrize('labels', [[0, 1, 0, 1], [0, 1, 2, 3]])
def test_derivatives_of_first_and_second_order(labels):
    embeddings, proxies, labels = _batch(labels)
    temperature = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    inputs = (embeddings.requires_grad_(), proxies.requires_grad_(), temperature)

    def loss(embeddings, proxies, temperature):
        return conditional_contrastive(embeddings, proxies, labels, temperature)

    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


def test_is_finite_where_exponentials_are_not():
    embeddings, proxies, labels = (part.float() if part.is_floating_point() else part for part in _batch([0, 1, 0, 2]))
    assert not torch.tensor(1e4).exp().isfinite()
    embeddings.requires_grad_()
    loss = conditional_contrastive(embeddings, proxies, labels, 1e-4)
    gradient, = torch.autograd.grad(loss, embeddings)
    assert loss.isfinite() and gradient.isfinite().all()
