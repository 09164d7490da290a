"""ConditionalValueAtRisk: its weights against the variational form, its gradient, what its share does, a search."""

import pytest
import torch
from torch.nn import functional as F
from toy import toy_step
from worst_case_search import make_plain_parts, run

from nni_wcnas import ConditionalValueAtRisk, FirstOrder, Search, Unrolled
from nni_wcnas.functional.hypergradient import lookahead
from nni_wcnas.relaxation import Dirichlet


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def variational(losses, share):
    """min_t t + E[(l - t)+] / share: convex and piecewise linear in t, so that one of the losses is a minimum."""
    return min(float(t + (losses - t).clamp(min=0).mean() / share) for t in losses)


def losses_at(learner, batch, weights=None):
    return F.cross_entropy(learner.logits(batch.images, weights), batch.labels, reduction='none')


@pytest.mark.parametrize('share', [1e-3, 0.07, 0.1, 0.25, 0.29, 1 / 3, 0.5, 0.77, 0.999, 1.0])
@pytest.mark.parametrize('count', [1, 7, 10, 64, 100])
def test_is_the_variational_form(float64, share, count):
    torch.manual_seed(count)
    for losses in (torch.rand(count) * 4, torch.randint(3, (count,)).double(), torch.full((count,), 0.7)):
        v = ConditionalValueAtRisk(share).weights(losses)
        assert float((v * losses).sum() / v.sum()) == pytest.approx(variational(losses, share), abs=1e-12)
        assert v.min() >= 0 and v.max() <= 1 and float(v.sum()) == pytest.approx(share * count)


def test_a_share_that_is_no_whole_number_weighs_its_last_example_by_a_fraction(float64):
    assert ConditionalValueAtRisk(0.5).weights(torch.tensor([1.0, 4.0, 2.0, 5.0, 3.0])).tolist() == [0, 1, 0, 1, 0.5]
    equal = torch.tensor([1.0, 4.0, 3.0, 3.0, 3.0])
    assert ConditionalValueAtRisk(0.5).weights(equal).tolist() == [0, 1, 0.5, 0.5, 0.5]
    largest = ConditionalValueAtRisk(0.01).weights(torch.tensor([1.0, 4.0, 2.0]))
    assert (largest / largest.sum()).tolist() == [0, 1, 0], 'less than one example: the worst one'


@pytest.mark.parametrize('share', [0.1, 0.25, 0.3, 1.0])
@pytest.mark.parametrize('hypergradient', [FirstOrder(), Unrolled(by='exact')], ids=repr)
def test_gradient_of_a(float64, share, hypergradient):
    """Against one differentiation of the variational form, at its minimum, through the step."""
    step = toy_step(hypergradient)
    learner, weights = step.learner, step.learner.weights
    if hypergradient.unrolls:
        weights = lookahead(
            lambda p: learner.loss(*step.train[:2], p), learner.weights, create_graph=True, **vars(learner.sgd_step())
        )
    losses = losses_at(learner, step.val, weights)
    at = min(losses.detach(), key=lambda t: float(t + (losses.detach() - t).clamp(min=0).mean() / share))
    # t moves with the example that has it, which is what is left of it at a fraction.
    t = losses[(losses.detach() == at).nonzero().item()]
    (expected,) = torch.autograd.grad(t + (losses - t).clamp(min=0).mean() / share, list(learner.alphas.values()))
    update = ConditionalValueAtRisk(share).architecture_step(step)
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(update.alphas['alpha'], expected, rtol=0, atol=1e-12)
    assert float(update.losses['A']) == pytest.approx(variational(losses.detach(), share), abs=1e-12)
    assert float(update.losses['real']) == pytest.approx(float(losses.detach().mean()), abs=1e-12)
    assert step.memory == {} and update.ascent is None


def test_a_smaller_share_is_a_larger_loss_and_the_whole_is_the_mean(float64):
    found = [ConditionalValueAtRisk(share).architecture_step(toy_step(FirstOrder())).losses for share in (1, 0.5, 0.2)]
    assert float(found[0]['A']) == pytest.approx(float(found[0]['real']))
    assert found[0]['A'] < found[1]['A'] < found[2]['A'] and found[0]['real'] == found[2]['real']


def _searched(objective, **members):
    """The strategy and its architecture after two epochs of digits."""
    strategy = run(Search(objective=objective, **members), make=make_plain_parts, epochs=2)
    module = strategy.oneshot_module
    return strategy, torch.cat([p.detach().flatten() for p in module.architecture().values()])


def test_its_arguments_reach_a_search():
    worst, moved = _searched(ConditionalValueAtRisk(0.25))
    assert len(next(worst.list_models()).sample) == 16
    metrics = worst.oneshot_module.trainer.callback_metrics
    assert metrics['loss_A'] > metrics['loss_real']
    for other in (ConditionalValueAtRisk(0.5), ConditionalValueAtRisk(0.25, every=3)):
        assert not torch.equal(_searched(other)[1], moved)
    assert torch.equal(_searched(ConditionalValueAtRisk(0.25))[1], moved)


@pytest.mark.parametrize('members', [{'relaxation': Dirichlet()}, {'hypergradient': Unrolled()}], ids=repr)
def test_composes(members):
    assert _searched(ConditionalValueAtRisk(0.3, every=2), **members)[1].isfinite().all()


@pytest.mark.parametrize(
    ('make', 'sentence'),
    [
        (lambda: ConditionalValueAtRisk(0.0), 'share must be above 0 and at most 1, not 0.0'),
        (lambda: ConditionalValueAtRisk(1.5), 'share must be above 0 and at most 1, not 1.5'),
        (lambda: ConditionalValueAtRisk(float('nan')), 'share must be above 0 and at most 1, not nan'),
        (lambda: ConditionalValueAtRisk(every=0), 'every must be at least 1 batch, not 0'),
    ],
)
def test_impossible_numbers(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
