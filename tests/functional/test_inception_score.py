"""The inception score against its definition in plain loops, and against torchmetrics."""

import math
import warnings

import pytest
import torch
from torch import nn
from torchmetrics.image.inception import InceptionScore

from nni_wcnas.functional.inception_score import inception_score


def by_definition(rows):
    """exp(mean over x of KL(p(y | x) from p(y)))."""
    mean = [sum(row[c] for row in rows) / len(rows) for c in range(len(rows[0]))]
    divergences = [sum(p * math.log(p / q) for p, q in zip(row, mean, strict=True) if p > 0) for row in rows]
    return math.exp(sum(divergences) / len(rows))


@pytest.mark.parametrize('spread', [0.1, 1.0, 20.0])
def test_against_the_definition_and_torchmetrics(spread):
    logits = spread * torch.randn(40, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    score = inception_score(logits.softmax(1))
    assert score.dtype == torch.float64
    assert score.item() == pytest.approx(by_definition(logits.softmax(1).tolist()), rel=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # That it keeps all features, and that one split has no deviation.
        theirs = InceptionScore(nn.Identity(), splits=1)
        theirs.update(logits)
        assert score.item() == pytest.approx(theirs.compute()[0].item(), rel=1e-12)


def test_zeros():
    rows = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    assert inception_score(rows).item() == pytest.approx(by_definition(rows.tolist()), rel=1e-12)
