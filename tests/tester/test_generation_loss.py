from __future__ import annotations

import pytest
import torch
from small import changed, exact_tester, small_tester, snapshot

from nni_wcnas.functional.quantisation import updated


def _b(tester, **shifts: float) -> dict[str, torch.Tensor]:
    return {name: value.detach() + shifts.get(name, 0.0) for name, value in tester.hyperparameters().items()}


def _flat(tensors) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


# With fed features only the weight has a derivative: what reaches the momentum from later blocks goes straight through.
@pytest.mark.parametrize(('name', 'feed_quantized'), [('b1', False), ('b2', False), ('b2', True)])
def test_derivatives_in_b_against_central_differences(name, feed_quantized):
    tester = exact_tester()
    for quantiser in tester.discriminator.trunk.quantisers:
        quantiser.feed = feed_quantized
    noise = tester.noise(4)
    loss, statistics = tester.generation_loss(noise)
    gradient, = torch.autograd.grad(loss, [tester.hyperparameters()[name]])
    step = 1e-5
    above, below = (tester.generation_loss(noise, None, _b(tester, **{name: shift}), statistics)[0].item()
                    for shift in (step, -step))
    assert gradient.item() != 0
    assert gradient.item() == pytest.approx((above - below) / (2 * step), rel=1e-6, abs=1e-9)


def test_mixed_derivative_by_finite_difference_equals_double_backward():
    tester = exact_tester()
    noise = tester.noise(4)
    generator = {name: value.detach().requires_grad_() for name, value in tester.generator_parameters().items()}
    b = {name: value.detach().requires_grad_() for name, value in tester.hyperparameters().items()}
    vector = {name: torch.randn_like(value) for name, value in generator.items()}
    loss, statistics = tester.generation_loss(noise, generator, b)

    gradient = torch.autograd.grad(loss, list(generator.values()), create_graph=True)
    exact = _flat(torch.autograd.grad(_flat(gradient) @ _flat(vector.values()), list(b.values())))

    def gradient_in_b(shift: float) -> torch.Tensor:
        moved = {name: value.detach() + shift * vector[name] for name, value in generator.items()}
        return _flat(torch.autograd.grad(tester.generation_loss(noise, moved, b, statistics)[0], list(b.values())))

    step = 1e-5 / _flat(vector.values()).norm().item()
    difference = (gradient_in_b(step) - gradient_in_b(-step)) / (2 * step)
    assert (exact != 0).all()
    torch.testing.assert_close(difference, exact, rtol=1e-6, atol=1e-9)


def test_gradient_in_g_against_a_central_difference():
    tester = exact_tester()
    noise = tester.noise(4)
    live = tester.generator_parameters()
    loss, statistics = tester.generation_loss(noise)
    gradient = dict(zip(live, torch.autograd.grad(loss, list(live.values())), strict=True))
    direction = {name: torch.randn_like(value) for name, value in live.items()}
    step = 1e-5 / _flat(direction.values()).norm().item()

    def loss_at(shift: float) -> torch.Tensor:
        moved = {name: value.detach() + shift * direction[name] for name, value in live.items()}
        return tester.generation_loss(noise, moved, None, statistics)[0]

    expected = _flat(gradient.values()) @ _flat(direction.values())
    torch.testing.assert_close((loss_at(step) - loss_at(-step)) / (2 * step), expected, rtol=1e-6, atol=1e-9)


def test_statistics_are_reused_exactly():
    tester = exact_tester()
    noise = tester.noise(4)
    loss, statistics = tester.generation_loss(noise)
    again, returned = tester.generation_loss(noise, tester.generator_parameters(), tester.hyperparameters(), statistics)
    assert torch.equal(loss, again)
    assert all(one is other for one, other in zip(returned, statistics, strict=True))
    assert not any(part.requires_grad for block in statistics for part in block)
    # Statistics of other images change the value: they are used, not computed anew.
    _, others = tester.generation_loss(tester.noise(4))
    assert not torch.equal(loss, tester.generation_loss(noise, statistics=others)[0])


def test_nothing_changes_and_no_gradient_is_left_in_s():
    tester = small_tester()
    noise = tester.noise(4)
    before = snapshot(tester)
    generator = {name: value.detach().clone().requires_grad_() for name, value in tester.generator_parameters().items()}
    tester.generation_loss(noise, generator)[0].backward()
    tester.generation_loss(noise)[0].backward()
    tester.generate(noise)
    tester.generate(noise, generator)
    tester.average(*noise)
    assert not changed(tester, before)
    assert all(parameter.grad is None for parameter in tester.discriminator_parameters().values())
    assert all(value.grad is not None for value in [*generator.values(), *tester.hyperparameters().values()])


def test_generate_at_live_parameters_is_the_live_image():
    tester = small_tester()
    noise = tester.noise(4)
    images = tester.generate(noise)
    assert images.shape == (4, 3, 16, 16)
    assert images.abs().max() <= 1
    assert torch.equal(images, tester.generate(noise, tester.generator_parameters()))


def test_commit_stores_what_the_loss_compared_with():
    tester = small_tester()
    _, statistics = tester.generation_loss(tester.noise(4))
    trunk = tester.discriminator.trunk
    momentum = tester.values()['momentum']
    pairs = list(zip(trunk.quantisers, statistics, strict=True))
    expected = [updated(quantiser.dictionary, own, momentum) for quantiser, own in pairs]
    trunk.commit(statistics, momentum)
    for dictionary, quantiser in zip(expected, trunk.quantisers, strict=True):
        torch.testing.assert_close(quantiser.dictionary, dictionary)
