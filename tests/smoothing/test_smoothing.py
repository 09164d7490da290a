"""Perturbations of mixing weights, against brute force."""

import pytest
import torch

from nni_wcnas import AdversarialSmoothing, RandomSmoothing
from nni_wcnas.contracts import Moment
from nni_wcnas.functional.simplex import to_simplex

MOMENT = Moment(epoch=24, epochs=50)


def _weights(rows=6, columns=4):
    return {'normal': torch.randn(rows, columns, dtype=torch.float64).softmax(-1)}


def test_back_to_the_simplex_by_hand():
    weights = torch.tensor([[0.5, 0.3, 0.2], [0.7, 0.3, 0.0], [0.6, 0.4, 0.0], [0.0, 0.0, 0.0]])
    moved = torch.tensor([[0.6, -0.2, 0.2], [0.6, 0.2, 0.9], [-0.1, -0.3, 0.5], [0.2, -0.1, 0.3]])
    expected = torch.tensor([[0.75, 0.0, 0.25], [0.75, 0.25, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(to_simplex(moved, weights), expected)


def test_radius_by_epoch():
    """0.03 at first; one step short of 0.3 in the last of 50 epochs."""
    radii = [RandomSmoothing().radius(Moment(epoch=epoch, epochs=50)) for epoch in (0, 25, 49)]
    assert radii == pytest.approx([0.03, 0.165, 0.2946])
    assert RandomSmoothing(epsilon=0.1, initial=0.0).radius(Moment(5, 10)) == pytest.approx(0.05)


def test_random_weights_stay_near_and_differ_from_draw_to_draw():
    torch.manual_seed(0)
    weights = {'normal': torch.full((500, 4), 0.25)}
    member = RandomSmoothing(epsilon=0.1, initial=0.1)
    first, second = (member.perturbed(weights, None, MOMENT)['normal'] for _ in range(2))
    torch.testing.assert_close(first.sum(-1), torch.ones(500))
    assert not torch.equal(first, second) and first.std() > 0.03
    assert first.min() > 0.15 / 1.4 and first.max() < 0.35 / 0.6, 'a radius of 0.1, then divided by the sum'


@pytest.mark.parametrize(('steps', 'share'), [(1, 0.98), (7, 0.98)])
def test_the_attack_is_worse_than_nearly_all_of_the_ball(steps, share):
    """Of a linear loss, over a grid of one row of three weights; the way back to the simplex costs the rest."""
    torch.manual_seed(0)
    slope = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    weights = {'normal': torch.tensor([[0.3, 0.4, 0.3]], dtype=torch.float64)}
    member = AdversarialSmoothing(epsilon=0.1, initial=0.1, steps=steps)
    found = member.perturbed(weights, lambda w: (w['normal'] * slope).sum(), MOMENT)['normal']
    grid = torch.linspace(-0.1, 0.1, 21, dtype=torch.float64)
    ball = weights['normal'] + torch.cartesian_prod(grid, grid, grid)
    losses = (to_simplex(ball, weights['normal'].expand_as(ball)) * slope).sum(-1)
    assert ((found * slope).sum() > losses).double().mean() > share


def test_one_step_by_hand():
    """From the random start: the sign of the gradient, twice the radius over the steps, into the ball, normalised."""
    slope = torch.randn(6, 4, dtype=torch.float64)
    weights = _weights()
    member, radius = AdversarialSmoothing(epsilon=0.2, initial=0.2, steps=1), 0.2
    torch.manual_seed(3)
    start = member.around(weights['normal'], radius)
    torch.manual_seed(3)
    found = member.perturbed(weights, lambda w: (w['normal'] * slope).sum(), MOMENT)['normal']
    step = start + 2 * radius * slope.sign()
    ball = torch.minimum(torch.maximum(step, weights['normal'] - radius), weights['normal'] + radius)
    clamped = ball.clamp(0, 1)
    torch.testing.assert_close(found, clamped / clamped.sum(-1, keepdim=True))


def test_a_failed_attack_leaves_the_architecture_alone():
    """The loss is highest where it stands, so that every way leads down."""
    weights = _weights()

    def loss(moved):
        return -(moved['normal'] - weights['normal']).square().sum()

    assert AdversarialSmoothing().perturbed(weights, loss, MOMENT) is None


def test_pruned_candidates_stay_out():
    torch.manual_seed(0)
    pruned = torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.0, 0.0], [0.2, 0.0, 0.8]], dtype=torch.float64)
    slope = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    for member in (RandomSmoothing(), AdversarialSmoothing()):
        found = member.perturbed({'normal': pruned}, lambda w: (w['normal'] * slope).sum(), MOMENT)['normal']
        assert (found[pruned == 0] == 0).all()
        torch.testing.assert_close(found.sum(-1), torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize('steps', [1, 4])
def test_the_number_of_steps_is_that_of_the_backward_passes(steps):
    calls = []

    def loss(weights):
        calls.append(torch.is_grad_enabled())
        return weights['normal'].pow(2).sum()

    AdversarialSmoothing(steps=steps).perturbed(_weights(), loss, MOMENT)
    assert calls == [True] * steps + [False] * 2


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        ({'epsilon': 0.0}, 'epsilon must be above 0 and at most 1'),
        ({'epsilon': 1.5}, 'epsilon must be above 0 and at most 1'),
        ({'initial': 0.5}, r'at most epsilon \(0.3\), not 0.5'),
        ({'initial': -0.1}, 'initial must be at least 0'),
        ({'steps': 0}, 'steps must be at least 1, not 0'),
    ],
)
def test_impossible_numbers(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        AdversarialSmoothing(**arguments)
