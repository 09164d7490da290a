"""The multi-level mathematics against closed forms, torch.func and double autograd, in float64."""

import pytest
import torch

from nni_wcnas.functional.hypergradient import (
    full_precision,
    gradient,
    gradients,
    implicit_product,
    inner_gradient,
    lookahead,
    replayed,
    sgd_step,
)

METHODS = ['exact', 'finite_difference']


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _leaf(*values):
    return torch.tensor(values).requires_grad_()


def test_gradient_by_what_the_loss_does_not_depend_on_is_zero():
    used, unused = _leaf(1.0, 2.0), _leaf(3.0)
    found = gradient(used.square().sum(), {'used': used, 'unused': unused})
    assert found['used'].tolist() == [2.0, 4.0] and found['unused'].tolist() == [0.0]
    assert gradient(torch.tensor(1.0), {'unused': unused})['unused'].tolist() == [0.0]


# ------------------------------------------------------------------------------------------------------------ lookahead


@pytest.mark.parametrize(('momentum', 'weight_decay'), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.3), (0.9, 0.3)])
@pytest.mark.parametrize('steps_before', [0, 3])
def test_lookahead_is_the_optimizers_next_step(momentum, weight_decay, steps_before):
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(5))
    optimizer = torch.optim.SGD([parameter], 0.1, momentum, weight_decay=weight_decay)

    def loss(p):
        return (p['w'].sin() * p['w']).sum()

    for _ in range(steps_before):
        optimizer.zero_grad()
        loss({'w': parameter}).backward()
        optimizer.step()
    buffer = optimizer.state[parameter].get('momentum_buffer') if steps_before else None
    before = parameter.detach().clone()
    ahead = lookahead(
        loss,
        {'w': parameter},
        lr=0.1,
        momentum=momentum,
        weight_decay=weight_decay,
        buffers={} if buffer is None else {'w': buffer.clone()},
    )
    assert torch.equal(parameter, before), 'the live parameter moved'
    assert ahead['w'].is_leaf and ahead['w'].requires_grad
    optimizer.zero_grad()
    loss({'w': parameter}).backward()
    optimizer.step()
    torch.testing.assert_close(ahead['w'], parameter, rtol=0, atol=1e-15)


def test_lookahead_keeps_the_graph_when_told():
    a, w = _leaf(0.7), _leaf(1.5)
    ahead = lookahead(lambda p: (a * p['w'] ** 2).sum(), {'w': w}, lr=0.1, create_graph=True)
    (slope,) = torch.autograd.grad(ahead['w'].sum(), a)
    torch.testing.assert_close(slope, -0.1 * 2 * w.detach(), rtol=0, atol=1e-15)  # d(w - lr 2 a w)/da


def test_parameters_without_influence_stay_where_they_are():
    ahead = lookahead(lambda p: (p['used'] ** 2).sum(), {'used': _leaf(1.0), 'unused': _leaf(2.0)}, lr=0.1)
    assert ahead['unused'].item() == 2.0 and ahead['used'].item() == pytest.approx(0.8)


# --------------------------------------------------------------------------------------------------------------------
# implicit product


@pytest.mark.parametrize('by', METHODS)
def test_product_on_a_bilinear_loss_is_the_matrix(by):
    torch.manual_seed(0)
    matrix, w, v = torch.randn(3, 4), torch.randn(4), torch.randn(4)
    a = torch.randn(3)
    product = implicit_product(lambda p, t: t['a'] @ matrix @ p['w'], {'w': w}, {'a': a}, {'w': v}, by)
    torch.testing.assert_close(product['a'], matrix @ v, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ('by', 'radius', 'tolerance'),
    [('exact', 0.01, 1e-12), ('finite_difference', 1e-4, 1e-7), ('finite_difference', 0.01, 2e-5)],
)
def test_product_against_torch_func(by, radius, tolerance):
    torch.manual_seed(1)
    a, w, v = torch.randn(3), torch.randn(4), torch.randn(4)
    features = torch.randn(6, 4)

    def loss(a, w):
        return torch.tanh(features @ w * torch.sigmoid(a).repeat(2)).square().mean()

    expected = torch.func.jacfwd(torch.func.grad(loss, 0), 1)(a, w) @ v
    product = implicit_product(lambda p, t: loss(t['a'], p['w']), {'w': w}, {'a': a}, {'w': v}, by, radius)
    tolerance = min(tolerance, 1e-5 * float(v.norm()))  # epsilon squared times the third derivative
    torch.testing.assert_close(product['a'], expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize('by', METHODS)
def test_product_by_a_target_that_the_loss_does_not_depend_on_is_zero(by):
    """As a weight of an operation that is not computed, beside one that is."""
    w, targets = torch.randn(3), {'used': torch.randn(3), 'unused': torch.randn(2)}
    vector = {'w': torch.ones(3)}
    product = implicit_product(lambda p, t: (t['used'] * p['w'] ** 2).sum(), {'w': w}, targets, vector, by)
    torch.testing.assert_close(product['used'], 2 * w)
    assert torch.equal(product['unused'], torch.zeros(2))


@pytest.mark.parametrize('by', METHODS)
def test_zero_vector_gives_zero_and_separable_loss_gives_zero(by):
    a, w = {'a': _leaf(1.0)}, {'w': _leaf(2.0)}
    bilinear = implicit_product(lambda p, t: (t['a'] * p['w']).sum(), w, a, {'w': torch.zeros(1)}, by)
    separable = implicit_product(
        lambda p, t: (t['a'] ** 2).sum() + (p['w'] ** 2).sum(), w, a, {'w': torch.ones(1)}, by
    )
    linear = implicit_product(lambda p, t: (t['a'] + p['w']).sum(), w, a, {'w': torch.ones(1)}, by)
    assert bilinear['a'].item() == linear['a'].item() == 0.0
    assert separable['a'].item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize('by', METHODS)
def test_a_constant_gradient_beside_others_gives_zero(by):
    """As that of the bias of a linear score, which may be among the targets or among the parameters."""
    w, score = {'w': torch.ones(2)}, {'slope': torch.tensor(2.0), 'bias': torch.tensor(1.0)}

    def loss(inner, other):
        return other['slope'] * inner['w'].sum() + other['bias']

    product = implicit_product(loss, w, score, {'w': torch.tensor([1.0, 2.0])}, by)
    torch.testing.assert_close(product, {'slope': torch.tensor(3.0), 'bias': torch.tensor(0.0)})
    vector = {'slope': torch.tensor(3.0), 'bias': torch.tensor(1.0)}
    product = implicit_product(lambda inner, other: loss(other, inner), score, w, vector, by)
    torch.testing.assert_close(product, {'w': torch.full((2,), 3.0)})


@pytest.mark.parametrize('function', [implicit_product, inner_gradient])
def test_unknown_method_is_refused(function):
    arguments = {'vector': {}} if function is implicit_product else {}
    with pytest.raises(ValueError, match='finite_difference.*exact.*cg'):
        function(lambda p, t: p['w'], {}, {}, by='cg', **arguments)


# ------------------------------------------------------------------------------------------------------ inner gradient


FEATURES = torch.linspace(-1.5, 2.0, 24, dtype=torch.float64).sin().view(6, 4)


def _curved(p, t):
    """A loss of two parameters and two targets, none of which enters linearly."""
    hidden = torch.tanh(FEATURES @ p['w'] * torch.sigmoid(t['a']).repeat(2))
    return (hidden * p['v'].exp()).square().mean() + (p['v'] * t['b'].sin()).sum()


def _point():
    torch.manual_seed(4)
    parameters = {'w': torch.randn(4).requires_grad_(), 'v': torch.randn(6).requires_grad_()}
    targets = {'a': torch.randn(3).requires_grad_(), 'b': torch.randn(6).requires_grad_()}
    return parameters, targets, {name: torch.randn_like(value) for name, value in parameters.items()}


def test_exact_product_is_that_of_double_autograd_and_of_a_small_finite_difference():
    parameters, targets, vector = _point()
    slopes = gradient(_curved(parameters, targets), parameters, create_graph=True)
    total = sum((slopes[name] * vector[name]).sum() for name in parameters)
    expected = gradient(total, targets)
    inner = (inner_gradient(_curved, parameters, targets, by, radius=1e-5) for by in METHODS)
    exact, difference = (found.product(vector) for found in inner)
    for name, value in expected.items():
        assert value.abs().max() > 1e-2
        torch.testing.assert_close(exact[name], value, rtol=0, atol=1e-14)
        torch.testing.assert_close(difference[name], value, rtol=0, atol=1e-9)


@pytest.mark.parametrize('by', METHODS)
def test_inner_gradient_is_the_gradient(by):
    parameters, targets, vector = _point()
    loss = _curved(parameters, targets)
    inner = inner_gradient(_curved, parameters, targets, by)
    assert inner.loss.item() == loss.item()
    expected = gradient(loss, parameters)
    assert inner.gradients.keys() == expected.keys()
    assert all(map(torch.equal, inner.gradients.values(), expected.values()))
    product = inner.product(vector)
    assert product.keys() == targets.keys()
    assert not any(value.requires_grad for value in [inner.loss, *inner.gradients.values(), *product.values()])
    assert all(value.grad is None for value in [*parameters.values(), *targets.values()])


@pytest.mark.parametrize(('by', 'calls'), [('exact', 1), ('finite_difference', 3)])
def test_how_often_the_loss_is_evaluated(by, calls):
    parameters, targets, vector = _point()
    seen = []

    def loss(p, t):
        seen.append(p)
        return _curved(p, t)

    inner = inner_gradient(loss, parameters, targets, by)
    assert len(seen) == 1
    inner.product(vector)
    assert len(seen) == calls


def test_the_first_pass_of_a_finite_difference_knows_no_targets():
    """No derivative in them is taken there."""
    parameters, targets, vector = _point()
    wanted = []

    def loss(p, t):
        wanted.append((p['w'].requires_grad, t['a'].requires_grad))
        return _curved(p, t)

    inner_gradient(loss, parameters, targets, 'finite_difference').product(vector)
    assert wanted == [(True, False), (False, True), (False, True)]


# --------------------------------------------------------------------------------------------------------- whole chains


@pytest.mark.parametrize('by', METHODS)
def test_two_levels_against_the_closed_form(by):
    """L_val = a w - 2 a + 1, L_tr = w^2 - 2 a w + a^2: the example of DARTS' figure 2, from (2, -2) with a step of
    0.5."""
    a, w, lr = _leaf(2.0), _leaf(-2.0), 0.5

    def train(p, alpha):
        return (p['w'] ** 2 - 2 * alpha * p['w'] + alpha**2).sum()

    ahead = lookahead(lambda p: train(p, a), {'w': w}, lr=lr)
    assert ahead['w'].item() == pytest.approx(2.0)  # w - 0.5 (2 w - 2 a) = a
    direct, vector = gradients((a * ahead['w'] - 2 * a + 1).sum(), {'a': a}, ahead)
    product = implicit_product(lambda p, t: train(p, t['a']), {'w': w}, {'a': a}, vector, by)
    # W' = a whatever w: L_val(W'(a), a) = a^2 - 2 a + 1 with slope 2 a - 2 = 2.
    assert (direct['a'] - lr * product['a']).item() == pytest.approx(2.0, abs=1e-7)


@pytest.mark.parametrize('by', METHODS)
@pytest.mark.parametrize('momentum', [0.0, 0.9])
def test_three_levels_against_double_autograd(by, momentum):
    """B -> G' -> V' -> F: two products, one plus sign in all; momentum and weight decay change the point, not the
    factors."""
    torch.manual_seed(2)
    b, g, v = torch.randn(2).requires_grad_(), torch.randn(3).requires_grad_(), torch.randn(3).requires_grad_()
    mix = torch.randn(3, 2)
    numbers = {'momentum': momentum, 'weight_decay': 0.1}
    buffers_g, buffers_v = {'g': torch.randn(3)}, {'v': torch.randn(3)}

    def generation(p, beta):
        return (p['g'] * (mix @ beta)).sum() + (p['g'] ** 2).sum() / 2

    def auxiliary(p, q):
        return (p['v'] ** 2 * q['g']).sum() / 2

    def outer(p):
        return (p['v'] ** 2).sum()

    ahead_g = lookahead(lambda p: generation(p, b), {'g': g}, lr=0.3, buffers=buffers_g, create_graph=True, **numbers)
    ahead_v = lookahead(
        lambda p: auxiliary(p, ahead_g), {'v': v}, lr=0.2, buffers=buffers_v, create_graph=True, **numbers
    )
    (expected,) = torch.autograd.grad(outer(ahead_v), b)

    g1 = lookahead(lambda p: generation(p, b), {'g': g}, lr=0.3, buffers=buffers_g, **numbers)
    v1 = lookahead(lambda p: auxiliary(p, g1), {'v': v}, lr=0.2, buffers=buffers_v, **numbers)
    v_v = gradient(outer(v1), v1)
    g_g = implicit_product(auxiliary, {'v': v}, g1, v_v, by)
    d_b = implicit_product(lambda p, t: generation(p, t['b']), {'g': g}, {'b': b}, g_g, by)
    torch.testing.assert_close((-0.3) * (-0.2) * d_b['b'], expected, rtol=0, atol=1e-7)
    assert expected.abs().min() > 1e-3, 'a vanishing reference would prove nothing'


# ----------------------------------------------------------------------------------------------------------- conditions


def test_replayed_draws_the_same_mask_and_leaves_the_random_state():
    draw = replayed(lambda: torch.rand(4), torch.device('cpu'))
    before = torch.get_rng_state()
    first, second = draw(), draw()
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_finite_difference_through_dropout_sees_one_mask():
    torch.manual_seed(3)
    w, v, a = {'w': torch.randn(50)}, {'w': torch.randn(50)}, {'a': torch.ones(1)}
    dropped = replayed(lambda p: torch.nn.functional.dropout(p['w'], 0.5), torch.device('cpu'))
    exact, difference = (implicit_product(lambda p, t: (t['a'] * dropped(p)).sum(), w, a, v, by)['a'] for by in METHODS)
    torch.testing.assert_close(exact, difference, rtol=1e-9, atol=0)


def test_full_precision_switches_reduced_precision_off_and_on_again():
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    with torch.autocast('cpu', dtype=torch.bfloat16):
        with full_precision(torch.device('cpu')):
            assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
            assert (
                torch.ones(2, 2, dtype=torch.float32) @ torch.ones(2, 2, dtype=torch.float32)
            ).dtype is torch.float32
        assert (torch.ones(2, 2, dtype=torch.float32) @ torch.ones(2, 2, dtype=torch.float32)).dtype is torch.bfloat16
    assert torch.backends.cudnn.allow_tf32 and torch.backends.cuda.matmul.allow_tf32


def test_sgd_step_is_differentiable_in_its_inputs():
    w, g = _leaf(1.0), _leaf(2.0)
    stepped = sgd_step({'w': w}, {'w': g}, lr=0.1, weight_decay=0.5)['w']
    by_w, by_g = torch.autograd.grad(stepped.sum(), [w, g])
    assert by_w.item() == pytest.approx(0.95) and by_g.item() == pytest.approx(-0.1)
