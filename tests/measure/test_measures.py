"""Measures against counts by hand."""

import math

import pytest
import torch
from torch import nn

from nni_wcnas.contracts import Batch
from nni_wcnas.data import Digits
from nni_wcnas.data.difficulty import DifficultyScores
from nni_wcnas.measure.measures import measure


class Corner(nn.Module):
    """Logits are the top left pixel of each channel; halves them in training mode, which a measure must not use."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.auxiliary = nn.Linear(5, 5)

    def forward(self, images):
        return images[:, :, 0, 0] * self.scale * (-1 if self.training else 1)


class Fixed:
    """Six examples in two batches; rights and wrongs are known. Positions are not in order."""

    logits = torch.tensor([[2.0, 0, 0], [0, 2, 0], [0, 2, 0], [2, 0, 0], [0, 0, 2], [2, 0, 0]])
    labels = torch.tensor([0, 1, 2, 1, 2, 0])  # Right: 0, 1, 4, 5. Wrong: 2, 3.
    positions = torch.tensor([10, 3, 7, 0, 5, 6])
    parts = ()

    def __init__(self, with_indices=True):
        self.with_indices = with_indices

    def evaluation_dataloader(self, part):
        self.parts += (part,)
        images = self.logits[:, :, None, None].expand(-1, -1, 4, 4).contiguous()
        return [
            Batch(images[rows], self.labels[rows], self.positions[rows] if self.with_indices else None)
            for rows in (slice(0, 4), slice(4, 6))
        ]


RIGHT, WRONG = -math.log(math.exp(2) / (math.exp(2) + 2)), -math.log(1 / (math.exp(2) + 2))


def test_counts_by_hand():
    data = Fixed()
    result = measure(Corner().train(), data, 'architecture')
    assert data.parts == ('architecture',)
    assert result['accuracy'] == pytest.approx(4 / 6)
    assert result['error'] == pytest.approx(2 / 6)
    assert result['loss'] == pytest.approx((4 * RIGHT + 2 * WRONG) / 6)
    assert result['examples'] == 6
    assert result['parameters'] == 3
    assert set(result) == {
        'accuracy', 'error', 'loss', 'ece', 'ece_equal_width', 'brier', 'loss_cvar', 'error_worst_class',
        'error_worst_3_classes', 'error_class_0', 'error_class_1', 'error_class_2', 'examples', 'parameters', 'macs',
    }


@pytest.mark.parametrize(
    'wrap', [lambda scores: scores, lambda scores: DifficultyScores(scores, 'test'), lambda scores: scores.numpy()]
)
def test_hard_examples_by_hand(wrap):
    scores = torch.zeros(11)
    scores[7], scores[3] = 0.9, 0.8  # The third (wrong) and the second (right).
    result = measure(Corner(), Fixed(), 'test', wrap(scores), share=1 / 3)
    assert result['accuracy_hard'] == pytest.approx(1 / 2)
    assert result['error_hard'] == pytest.approx(1 / 2)
    assert result['loss_hard'] == pytest.approx((RIGHT + WRONG) / 2)
    assert result['accuracy_rest'] == pytest.approx(3 / 4)
    assert result['loss_rest'] == pytest.approx((3 * RIGHT + WRONG) / 4)


def test_a_small_share_is_one_example():
    scores = torch.arange(11.0)  # The hardest is the first example, at position 10.
    result = measure(Corner(), Fixed(), 'test', scores, share=0.01)
    assert (result['accuracy_hard'], result['accuracy_rest']) == (1.0, pytest.approx(3 / 5))


@pytest.mark.parametrize('training', [True, False])
def test_the_network_stays_as_it_was(training):
    network = Corner().train(training).double()
    network.scale.data /= 3  # Not a float32.
    before = network.scale.detach().clone()
    measure(network, Fixed())
    assert network.training is training
    assert torch.equal(network.scale, before)
    assert network.scale.dtype is torch.float64


def test_mode_and_precision_come_back_after_an_error():
    network = Corner().double()
    with pytest.raises(IndexError):
        measure(
            network,
            type(
                'Flat', (), {'evaluation_dataloader': lambda self, part: [Batch(torch.zeros(2, 3), torch.zeros(2))]}
            )(),
        )
    assert network.training
    assert network.scale.dtype is torch.float64


def test_errors():
    with pytest.raises(ValueError, match='batches have no indices'):
        measure(Corner(), Fixed(with_indices=False), 'test', torch.zeros(11))
    with pytest.raises(ValueError, match='there are 5 scores'):
        measure(Corner(), Fixed(), 'test', torch.zeros(5))
    with pytest.raises(ValueError, match='leaves no rest'):
        measure(Corner(), Fixed(), 'test', torch.zeros(11), share=1.0)
    with pytest.raises(ValueError, match="part 'test' has no examples"):
        measure(Corner(), type('Empty', (), {'evaluation_dataloader': lambda self, part: []})())


def test_real_digits():
    data = Digits(limit=100)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10))
    result = measure(network, data, 'test', torch.rand(len(data.test_indices)), share=0.1)
    assert result['examples'] == len(data.test_indices)
    hard, rest = round(0.1 * result['examples']), result['examples'] - round(0.1 * result['examples'])
    assert result['accuracy'] * result['examples'] == pytest.approx(
        result['accuracy_hard'] * hard + result['accuracy_rest'] * rest
    )
    assert result['macs'] == 3 * 16 * 16 * 10
    assert result['parameters'] == 3 * 16 * 16 * 10 + 10
