from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from nni_wcnas.functional.frozen import constants, frozen_statistics


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        spectral_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4, affine=False),
    )


def _flags(module: nn.Module) -> list[tuple[bool, bool | None]]:
    return [(child.training, getattr(child, 'track_running_stats', None)) for child in module.modules()]


def _buffers(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def test_buffers_stand_still_and_batch_statistics_are_used():
    network = _network()
    images = torch.randn(8, 3, 6, 6) * 3 + 1
    before = _buffers(network)
    with frozen_statistics(network):
        output = network(images)
        torch.func.functional_call(network, dict(network.named_parameters()), (images,))
    for name, buffer in network.named_buffers():
        assert torch.equal(buffer, before[name]), name
    torch.testing.assert_close(output.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(output.var(dim=(0, 2, 3), unbiased=False), torch.ones(4), atol=1e-3, rtol=0)

    network(images)
    assert any(not torch.equal(buffer, before[name]) for name, buffer in network.named_buffers() if 'running' in name)
    assert not torch.equal(network[0].parametrizations.weight[0]._u, before['0.parametrizations.weight.0._u'])


def test_flags_are_restored_after_an_exception_and_when_nested():
    network = _network()
    network[3].eval()
    before = _flags(network)
    with pytest.raises(KeyError), frozen_statistics(network):
        raise KeyError
    assert _flags(network) == before
    with frozen_statistics(network):
        inside = _flags(network)
        with frozen_statistics(network[1]):
            pass
        assert _flags(network) == inside
    assert _flags(network) == before


def test_a_norm_without_running_statistics_stays_so():
    norm = nn.BatchNorm1d(2, track_running_stats=False)
    with frozen_statistics(norm):
        norm(torch.randn(4, 2))
    assert norm.track_running_stats is False


def test_evaluation_mode_is_left_alone():
    norm = nn.BatchNorm2d(2).eval()
    images = torch.randn(2, 2, 4, 4) + 1
    with frozen_statistics(norm):
        frozen = norm(images)
    assert torch.equal(frozen, norm(images))


def test_constants_get_no_gradient_and_come_back():
    learnt, fixed = torch.ones(2, requires_grad=True), torch.ones(2)
    other = torch.ones(2, requires_grad=True)
    with pytest.raises(KeyError), constants({'learnt': learnt, 'fixed': fixed}):
        (learnt * fixed * other).sum().backward()
        raise KeyError
    assert learnt.grad is None and torch.equal(other.grad, torch.ones(2))
    assert learnt.requires_grad and not fixed.requires_grad
