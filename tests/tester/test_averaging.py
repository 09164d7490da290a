"""The moving average of a module with spectral norms."""

from __future__ import annotations

import copy
import pickle

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from nni_wcnas.tester.averaging import MovingAverage


def network():
    torch.manual_seed(0)
    return nn.Sequential(spectral_norm(nn.Linear(6, 5)), nn.BatchNorm1d(5))


def trained(module, average, steps):
    """Turn the weight by a lot in every step, as at a high learning rate, and average it."""
    for _ in range(steps):
        with torch.no_grad():
            module[0].parametrizations.weight.original.copy_(torch.randn(5, 6))
        module(torch.randn(8, 6))
        average.update_parameters(module)


def test_singular_vectors_belong_to_the_averaged_weight():
    module = network()
    average = MovingAverage(module, decay=0.9, start=2)
    trained(module, average, 40)
    for _ in range(500):  # The module stands still now: the average comes to it, and the iteration to its norm.
        average.update_parameters(module)
    torch.testing.assert_close(torch.linalg.matrix_norm(average.module[0].weight, 2), torch.tensor(1.0))


def test_the_average_never_lengthens_a_weight_as_shrunken_vectors_would():
    module = network()
    average = MovingAverage(module, decay=0.99, start=0)
    trained(module, average, 40)
    norm = average.module[0].parametrizations.weight[0]
    for vector in (norm._u, norm._v):
        torch.testing.assert_close(vector.norm(), torch.tensor(1.0))


def test_before_the_start_it_is_a_copy_and_always_in_evaluation_mode():
    module = network()
    average = MovingAverage(module, decay=0.9, start=5)
    trained(module, average, 5)
    state, copied = module.state_dict(), average.module.state_dict()
    assert all(torch.equal(value, copied[name]) for name, value in state.items())
    trained(module, average, 1)
    name = '0.parametrizations.weight.original'
    assert not torch.equal(module.state_dict()[name], average.module.state_dict()[name])
    assert not any(child.training for child in average.modules())
    assert not any(parameter.requires_grad for parameter in average.parameters())


def test_weights_and_running_statistics_are_averaged():
    module = network()
    average = MovingAverage(module, decay=0.75, start=0)
    trained(module, average, 1)
    before = copy.deepcopy(average.module.state_dict())
    trained(module, average, 1)
    for name in ('0.parametrizations.weight.original', '1.running_mean', '1.running_var'):
        expected = 0.75 * before[name] + 0.25 * module.state_dict()[name]
        torch.testing.assert_close(average.module.state_dict()[name], expected)
    assert average.module[1].num_batches_tracked == module[1].num_batches_tracked


def test_it_is_pickled_without_norms():
    average = MovingAverage(nn.Linear(2, 2), decay=0.9, start=0)
    again = pickle.loads(pickle.dumps(average))
    assert torch.equal(again.module.weight, average.module.weight)
