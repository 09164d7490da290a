"""Worst cases and calibration against closed forms, brute force and the definition as a minimum."""

import math

import pytest
import torch
from scipy.optimize import minimize_scalar

from nni_wcnas.measure.calibration import brier_score, calibration_error
from nni_wcnas.measure.measures import measure_predictions
from nni_wcnas.measure.predictions import Predictions
from nni_wcnas.measure.worst_case import cvar, errors_by_group, worst


@pytest.mark.parametrize('share', [0.03, 0.1, 0.37, 0.5, 1.0])
def test_cvar_is_rockafellar_and_uryasevs_minimum(share):
    losses = torch.randn(53, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).exp()
    bound = lambda t: t + (losses - t).clamp(min=0).mean().item() / share  # noqa: E731
    least = min(bound(value.item()) for value in losses)  # Piecewise linear: the minimum is at a loss.
    assert cvar(losses, share) == pytest.approx(least, abs=1e-12)
    assert minimize_scalar(bound, bounds=(0, losses.max().item()), method='bounded').fun >= least - 1e-9


def test_cvar_of_a_fractional_tail_by_hand():
    losses = torch.tensor([1.0, 5.0, 3.0, 2.0])
    assert cvar(losses, 0.375) == pytest.approx((5 + 0.5 * 3) / 1.5, abs=1e-15)
    assert cvar(losses, 0.1) == 5.0
    assert cvar(torch.arange(30.0), 0.1) == 28.0  # 0.1 * 30 is a little above 3 in floating point.
    for share in (0, 1.1):
        with pytest.raises(ValueError, match='above 0 and at most 1'):
            cvar(losses, share)


def test_groups_against_plain_loops():
    generator = torch.Generator().manual_seed(1)
    wrong = torch.randint(0, 2, (200,), generator=generator).double()
    groups = torch.randint(-1, 5, (200,), generator=generator)
    found = errors_by_group(wrong, groups)
    for group in range(-1, 5):
        chosen = [float(w) for w, g in zip(wrong, groups, strict=True) if g == group]
        assert found[group] == pytest.approx(sum(chosen) / len(chosen), abs=1e-15)
    assert worst(found) == max(found.values())
    assert worst(found, 2) == pytest.approx(sum(sorted(found.values())[-2:]) / 2)
    assert worst(found, 99) == pytest.approx(sum(found.values()) / 6)


def test_calibration_by_plain_loops():
    generator = torch.Generator().manual_seed(2)
    probabilities = (2 * torch.randn(101, 4, dtype=torch.float64, generator=generator)).softmax(1)
    labels = torch.randint(0, 4, (101,), generator=generator)
    sure = [float(row.max()) for row in probabilities]
    right = [float(row.argmax() == label) for row, label in zip(probabilities, labels, strict=True)]
    by_width = 0.0
    for place in range(15):
        inside = [i for i, p in enumerate(sure) if place / 15 < p <= (place + 1) / 15]
        by_width += abs(sum(right[i] - sure[i] for i in inside)) / 101
    assert calibration_error(probabilities, labels, kind='width') == pytest.approx(by_width, abs=1e-14)
    order, by_mass = sorted(range(101), key=lambda i: sure[i]), 0.0
    sizes = [7] * 11 + [6] * 4
    for size in sizes:
        inside, order = order[:size], order[size:]
        by_mass += abs(sum(right[i] - sure[i] for i in inside)) / 101
    assert calibration_error(probabilities, labels) == pytest.approx(by_mass, abs=1e-14)
    brier = sum((float(p) - (c == int(y))) ** 2 for row, y in zip(probabilities, labels, strict=True)
                for c, p in enumerate(row)) / 101
    assert brier_score(probabilities, labels) == pytest.approx(brier, abs=1e-14)


def test_measures_of_known_predictions():
    logits = torch.tensor([[2.0, 0], [2, 0], [2, 0], [0, 2]], dtype=torch.float64)
    predictions = Predictions(logits, torch.tensor([0, 1, 0, 1]), torch.tensor([3, 1, 0, 2]))
    scores = torch.tensor([0.0, 9, 0, 0])
    found = measure_predictions(predictions, scores, 0.25, torch.tensor([7, 7, 8, 8]), {7: 'day'})
    assert found['error_class_0'] == 0 and found['error_class_1'] == found['error_worst_class'] == 0.5
    assert found['error_hard'] == 1 and found['error_rest'] == 0
    assert found['loss_cvar'] == found['loss_hard'] == pytest.approx(math.log(1 + math.exp(2)))
    assert found['error_group_day'] == found['error_worst_group'] == 0.5 and found['error_group_8'] == 0
    assert found['ece_hard'] == pytest.approx(1 / (1 + math.exp(-2)))
    with pytest.raises(ValueError, match='one group for each example'):
        measure_predictions(predictions, groups=torch.tensor([0, 1]))
