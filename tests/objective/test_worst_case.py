"""Equations 7-16 of papers/wcnas against one differentiation through the whole unrolled chain."""

import pytest
import torch
from torch.nn import functional as F
from toy import DroppingAuxiliary, ReplayingAuxiliary, ToyAuxiliary, toy_step

from nni_wcnas import FirstOrder, Unrolled, WorstCase
from nni_wcnas.functional.decorrelation import decorrelation
from nni_wcnas.functional.hypergradient import gradient, leaves, lookahead
from nni_wcnas.objective.image_chain import ImageChain
from nni_wcnas.objective.worst_case import _Meaning


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _reference(step, objective, unroll=True):
    """A's and B's gradients by double autograd; the decorrelation is A's alone; noise is drawn as in the step."""
    tester, auxiliary, learner, count = step.tester, step.auxiliary, step.learner, len(step.train.labels)
    z0, z1, z2 = (tester.noise(count) for _ in range(3))

    def ahead(loss, parameters, numbers):
        return lookahead(loss, parameters, create_graph=True, **vars(numbers))

    g = ahead(lambda p: tester.generation_loss(z0, p)[0], tester.generator_parameters(), tester.generator_step())
    v = ahead(
        lambda p: auxiliary.loss(tester.generate(z1, g), z1.labels, p), auxiliary.learnable(), auxiliary.sgd_step()
    )
    w = (
        ahead(lambda p: learner.loss(*step.train[:2], p), learner.weights, learner.sgd_step())
        if unroll
        else learner.weights
    )
    worst, features = learner.loss_and_features(learner.renormalise(tester.generate(z2, g)), z2.labels, w)
    of_a = worst + objective.decov * decorrelation(features)
    of_a = of_a + objective.average_weight * learner.loss(step.val.images, step.val.labels, w)
    of_b = worst - objective.trade_off * auxiliary.loss(step.val.clean, step.val.labels, v)
    found = gradient(of_a, learner.alphas, create_graph=True)
    return found | gradient(of_b, tester.hyperparameters())


def _computed(step, objective):
    update = objective.architecture_step(step)
    return {**update.alphas, **update.ascent().hyperparameters}


@pytest.mark.parametrize(
    'arguments',
    [
        {},
        {'trade_off': 0.0},
        {'trade_off': 3.0},
        {'average_weight': 0.0},
        {'average_weight': 2.5},
        {'decov': 0.0},
        {'decov': 2.0},
    ],
    ids=str,
)
@pytest.mark.parametrize('momentum', [0.0, 0.9])
@pytest.mark.parametrize(
    ('hypergradient', 'tolerance'),
    [
        (Unrolled(), 1e-10),
        (Unrolled('finite_difference', 1e-4), 1e-7),
        (Unrolled('finite_difference'), 2e-5),  # errs by the radius squared times third derivatives
    ],
    ids=str,
)
def test_gradients_of_a_and_b(arguments, momentum, hypergradient, tolerance):
    objective = WorstCase(**arguments)
    torch.manual_seed(7)
    expected = _reference(toy_step(Unrolled(), momentum=momentum), objective)
    torch.manual_seed(7)
    computed = _computed(toy_step(hypergradient, momentum=momentum), objective)
    for name, value in expected.items():
        assert value.abs().max() > 1e-4, f'{name}: a vanishing reference would prove nothing'
        torch.testing.assert_close(computed[name], value, rtol=0, atol=tolerance, msg=name)


def test_first_order_leaves_the_weights_where_they_are_and_keeps_the_testers_chain():
    torch.manual_seed(7)
    expected = _reference(toy_step(FirstOrder()), WorstCase(), unroll=False)
    torch.manual_seed(7)
    computed = _computed(toy_step(FirstOrder()), WorstCase())
    for name, value in expected.items():
        torch.testing.assert_close(computed[name], value, rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize('by', ['exact', 'finite_difference'])
def test_dropout_in_the_auxiliary_model_is_frozen_within_a_step(by):
    torch.manual_seed(7)
    expected = _reference(toy_step(Unrolled(), auxiliary=ReplayingAuxiliary), WorstCase(trade_off=3.0))
    torch.manual_seed(7)
    computed = _computed(toy_step(Unrolled(by=by), auxiliary=DroppingAuxiliary), WorstCase(trade_off=3.0))
    tolerance = 1e-10 if by == 'exact' else 1e-4
    for name, value in expected.items():
        torch.testing.assert_close(computed[name], value, rtol=0, atol=tolerance, msg=name)


@pytest.mark.parametrize('by', ['exact', 'finite_difference'])
def test_the_product_through_dropout_is_the_same_twice(by):
    """Whatever else is drawn in between."""
    products = []
    for others in (0, 5):
        step = toy_step(Unrolled(by=by), auxiliary=DroppingAuxiliary)
        chain = ImageChain(step, step.tester, step.tester.noise(8))
        meaning = _Meaning(step, chain, step.tester.noise(8))
        torch.rand(others)
        vector, again = (meaning.gradient()[1] for _ in range(2))
        assert all(torch.equal(value, again[name]) for name, value in vector.items())
        torch.rand(others)
        products.append(chain.hyperparameter_gradient(vector))
    first, second = products
    assert all(value.abs() > 1e-6 and torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize('by', ['exact', 'finite_difference'])
def test_a_random_generator_is_frozen_within_a_step(by):
    products = []
    for others in (0, 5):
        step = toy_step(Unrolled(by=by))
        plain = step.tester.generate
        step.tester.generate = lambda noise, generator=None, plain=plain: F.dropout(plain(noise, generator), 0.5)
        chain = ImageChain(step, step.tester, step.tester.noise(8))
        torch.rand(others)
        products.append(chain.hyperparameter_gradient(leaves(chain.generator)))
    first, second = products
    assert all(value.abs() > 1e-6 and torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize('auxiliary', [ToyAuxiliary, DroppingAuxiliary])
def test_only_the_noise_is_drawn_from_the_global_random_state(auxiliary):
    step = toy_step(Unrolled(), auxiliary=auxiliary)
    torch.manual_seed(3)
    WorstCase().architecture_step(step).ascent()
    state = torch.get_rng_state()
    torch.manual_seed(3)
    for _ in range(3):
        step.tester.noise(8)
    assert torch.equal(torch.get_rng_state(), state)


def test_step_changes_nothing():
    step = toy_step(Unrolled())
    tensors = [
        *step.learner.weights.values(),
        *step.learner.alphas.values(),
        *step.tester.parameters(),
        *step.auxiliary.parameters(),
    ]
    before = [t.detach().clone() for t in tensors]
    WorstCase().architecture_step(step).ascent()
    assert all(torch.equal(t, b) for t, b in zip(tensors, before))
    assert all(t.grad is None for t in tensors)


def _update(**arguments):
    torch.manual_seed(5)
    step = toy_step(Unrolled(by='exact'))
    torch.manual_seed(9)
    update = WorstCase(**arguments).architecture_step(step)
    return update.alphas['alpha'], torch.stack(list(update.ascent().hyperparameters.values()))


@pytest.mark.parametrize(
    ('arguments', 'moves_a', 'moves_b'),
    [
        ({'trade_off': 0.0}, False, True),  # lambda reaches B only: V' does not depend on A
        ({'average_weight': 0.0}, True, False),  # gamma reaches A only: D_val does not depend on B
        ({'decov': 0.0}, True, False),  # nor does B decorrelate, or the opposite
        ({'every': 3}, False, False),
        ({'hyperparameter_lr': 1.0}, False, False),
        ({'reuse_gradient': True}, False, False),
    ],
    ids=str,
)
def test_each_argument_changes_what_it_claims_and_nothing_else(arguments, moves_a, moves_b):
    (a, b), (a0, b0) = _update(**arguments), _update()
    assert torch.equal(a, a0) is not moves_a
    assert torch.equal(b, b0) is not moves_b


@pytest.mark.parametrize('by', ['exact', 'finite_difference'])
def test_b_ascends_at_the_a_of_after_its_step_and_the_w_of_before(by):
    """Algorithm 1: A is updated, then B; W' is that of the old A."""
    step, objective = toy_step(Unrolled(by=by)), WorstCase(trade_off=3.0)
    torch.manual_seed(7)
    before = _reference(step, objective)
    weights = lookahead(lambda p: step.learner.loss(*step.train[:2], p), step.learner.weights, **vars(
        step.learner.sgd_step()))
    torch.manual_seed(7)
    update = objective.architecture_step(step)
    with torch.no_grad():
        step.learner.alphas['alpha'] += 0.5
    # The same chain at the new A, whose W' is not looked for again.
    held = toy_step(FirstOrder())
    for name, value in held.learner.weights.items():
        value.data.copy_(weights[name])
    held.learner.alphas['alpha'].data.copy_(step.learner.alphas['alpha'])
    torch.manual_seed(7)
    expected = _reference(held, objective, unroll=False)
    for name, value in update.ascent().hyperparameters.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-10 if by == 'exact' else 1e-4)
        assert (expected[name] - before[name]).abs() > 1e-4


def test_b_has_two_live_components_and_lambda_scales_one_term_linearly():
    _, none = _update(trade_off=0.0)
    _, one = _update(trade_off=1.0)
    _, two = _update(trade_off=2.0)
    assert none.abs().min() > 1e-6 and one.abs().min() > 1e-6
    torch.testing.assert_close(two - none, 2 * (one - none), rtol=1e-9, atol=0)


def test_reused_gradient_is_the_training_gradient():
    step = toy_step(Unrolled())
    update = WorstCase(reuse_gradient=True).architecture_step(step)
    gradient = update.weight_gradient
    assert update.losses['W'] == step.learner.loss(*step.train[:2]).item()
    expected = torch.autograd.grad(step.learner.loss(*step.train[:2]), list(step.learner.weights.values()))
    assert all(torch.equal(gradient[name], value) for name, value in zip(step.learner.weights, expected))
    plain = WorstCase().architecture_step(step)
    assert plain.weight_gradient is None and 'W' not in plain.losses


def test_losses_are_those_of_the_objective():
    update = WorstCase(trade_off=2.0, average_weight=0.5, decov=0.3).architecture_step(toy_step(Unrolled()))
    losses = {name: value.item() for name, value in (update.losses | update.ascent().losses).items()}
    assert losses['A'] == pytest.approx(losses['generated'] + 0.5 * losses['real'] + 0.3 * losses['decov'])
    assert losses['B'] == pytest.approx(losses['generated'] - 2.0 * losses['meaning'])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'trade_off': -1.0}, 'trade_off must be 0 or more and finite, not -1.0'),
        ({'average_weight': float('nan')}, 'average_weight must be 0 or more'),
        ({'trade_off': float('inf')}, 'trade_off must be 0 or more and finite, not inf'),
        ({'decov': -0.1}, 'decov must be 0 or more'),
        ({'every': 0}, 'every must be at least 1 batch, not 0'),
        ({'hyperparameter_lr': 0.0}, 'hyperparameter_lr must be positive and finite'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        WorstCase(**arguments)


def test_missing_tester_and_missing_clean_images():
    step = toy_step(Unrolled())
    step.val = step.val._replace(clean=None)
    with pytest.raises(ValueError, match='needs unaugmented validation images'):
        WorstCase().architecture_step(step).ascent()
    step.auxiliary = None
    with pytest.raises(ValueError, match='needs an auxiliary model: give .* or set trade_off=0'):
        WorstCase().architecture_step(step)
    assert WorstCase(trade_off=0).architecture_step(step).ascent().hyperparameters
    step.tester = None
    with pytest.raises(ValueError, match='needs a tester: give'):
        WorstCase().architecture_step(step)
