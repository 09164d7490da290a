"""Widening against plain loops over channels, in whole supernets."""

import itertools

import pytest
import torch
from torch import nn

from nni_wcnas import Search
from nni_wcnas.spaces import DARTS
from nni_wcnas.spaces.operations import FactorizedReduce
from nni_wcnas.supernet.widening import Widening
from nni_wcnas.transform import PartialChannels

OPERATIONS = ('none', 'max_pool_3x3', 'skip_connect', 'sep_conv_3x3')


def supernet(k: int) -> nn.Module:
    """Operations see one of ``k`` parts of 16 channels; weights and statistics are random."""
    space = DARTS(width=16, num_cells=3, num_nodes=2, operations=OPERATIONS)
    found = Search(transforms=(PartialChannels(k),)).mutate_model(space)
    with torch.no_grad():
        for tensor in found.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape) * 100)
    return found


@pytest.fixture(scope='module')
def pair() -> tuple[nn.Module, nn.Module, dict[str, torch.Tensor], Widening]:
    """A supernet, a wider one that took over its weights, what that one had before, and how."""
    torch.manual_seed(0)
    old, new, widening = supernet(4), supernet(2), Widening()
    before = {name: value.clone() for name, value in new.state_dict().items()}
    widening.transfer(old, new)
    return old, new, before, widening


def operation_of(name: str) -> str:
    """The candidate on an edge that a tensor belongs to."""
    return '.'.join(name.split('.')[:6])


def test_every_new_channel_copies_one_old_channel_of_the_same_operation(pair):
    """What a channel copies is found by comparing values, and is the same in all tensors of an operation."""
    old, new, _, _ = pair
    values, copied = old.state_dict(), {}
    for name, value in new.state_dict().items():
        source = values[name]
        if source.shape == value.shape:
            assert value.equal(source)
            continue
        if 'skip_connect' in name:
            continue  # Halves of its own, below.
        assert name.startswith('cells.') and '.ops.' in name
        for dimension, (size, wanted) in enumerate(zip(source.shape, value.shape)):
            if size != wanted:
                copied.setdefault((operation_of(name), size, wanted), []).append(_source(source, value, dimension))
    assert len(copied) > 20
    for (operation, size, wanted), found in copied.items():
        assert all(channels == found[0] for channels in found), operation
        assert found[0][:size] == list(range(size)) and len(found[0]) == wanted == 2 * size
    assert len({tuple(found[0][4:]) for (_, size, _), found in copied.items() if size == 4}) > 1, 'drawn, not fixed'


def test_halves_of_a_factorised_reduction(pair):
    """Each output copies one of its own half; statistics and inputs are of the same channels."""
    old, new, _, _ = pair
    modules = dict(new.named_modules())
    reductions = [name for name in modules if isinstance(modules[name], FactorizedReduce) and '.ops.' in name]
    assert reductions
    for name in reductions:
        before, after = old.get_submodule(name), new.get_submodule(name)
        known = before.norm.running_mean.tolist()
        copied = torch.tensor([known.index(value) for value in after.norm.running_mean.tolist()])
        half, wide = before.conv_even.out_channels, after.conv_even.out_channels
        even, odd = copied[:wide], copied[wide:] - half
        assert even[:half].tolist() == list(range(half)) and odd[: len(known) - half].tolist() == list(range(half))
        assert after.conv_even.weight.equal(before.conv_even.weight[even][:, copied])
        assert after.conv_odd.weight.equal(before.conv_odd.weight[odd][:, copied])


def _source(old: torch.Tensor, new: torch.Tensor, dimension: int) -> list[int]:
    """Which slice of ``old`` each slice of ``new`` holds; other dimensions begin with the old channels."""
    for other, size in enumerate(old.shape):
        if other != dimension:
            new = new.narrow(other, 0, size)
    slices = [old.select(dimension, channel) for channel in range(old.shape[dimension])]
    found = []
    for channel in range(new.shape[dimension]):
        equal = [index for index, slice_ in enumerate(slices) if slice_.equal(new.select(dimension, channel))]
        assert len(equal) == 1
        found += equal
    return found


def test_a_kernel_against_loops(pair):
    old, new, _, widening = pair
    names = [name for name, value in new.state_dict().items() if value.dim() == 4 and value.shape[2:] == (1, 1)]
    names = [name for name in names if value_of(old, name).shape != value_of(new, name).shape]
    for name in names[:6]:
        small, large = value_of(old, name), value_of(new, name)
        channels = widening._channels[operation_of(name), len(small), len(large)].tolist()
        for i, j in itertools.product(range(large.shape[0]), range(large.shape[1])):
            assert large[i, j].equal(small[channels[i], channels[j]]), 'nothing is rescaled'


def value_of(network: nn.Module, name: str) -> torch.Tensor:
    """A parameter or buffer."""
    return network.state_dict()[name]


def test_running_statistics_and_momentum_copy_the_same_channels(pair):
    old, new, _, widening = pair
    name = next(name for name in old.state_dict() if name.endswith('running_mean') and '.sep_conv_3x3.' in name)
    channels = widening._channels[operation_of(name), 4, 8]
    assert value_of(new, name).equal(value_of(old, name)[channels])
    kernel = next(n for n, p in old.named_parameters() if operation_of(n) == operation_of(name) and p.shape[0] == 4)
    momentum = torch.randn_like(old.get_parameter(kernel))
    widened = widening.widened(kernel, momentum, new.get_parameter(kernel))
    assert widened.shape == new.get_parameter(kernel).shape
    for row, channel in enumerate(channels.tolist()):
        assert widened[row, 0].equal(momentum[channel, 0])


def test_nothing_of_the_wide_supernet_is_left_but_what_the_old_one_lacks(pair):
    old, new, before, _ = pair
    assert old.state_dict().keys() == new.state_dict().keys()
    floating = [name for name, value in before.items() if value.is_floating_point()]
    assert [name for name in floating if value_of(new, name).equal(before[name])] == []


def test_the_draw_is_of_torchs_random_state():
    def drawn(seed: int) -> list[float]:
        torch.manual_seed(seed)
        widening = Widening()
        return widening.widened('cells.0.ops.0.0.conv.1.weight', torch.arange(4.0), torch.empty(64)).tolist()

    assert drawn(0) == drawn(0) != drawn(1)
    assert drawn(0)[:4] == [0, 1, 2, 3] and set(drawn(0)) == {0, 1, 2, 3}


def test_operations_do_not_share_their_draw():
    torch.manual_seed(0)
    widening, old, like = Widening(), torch.arange(4.0), torch.empty(64)
    names = (f'cells.0.ops.0.{edge}.conv.{layer}.weight' for edge, layer in ((0, 1), (1, 1), (0, 3)))
    first, second, again = (widening.widened(name, old, like) for name in names)
    assert first.equal(again) and not first.equal(second)


def test_equal_shapes_are_passed_on():
    value = torch.randn(3, 2)
    assert Widening().widened('stem.0.weight', value, torch.empty(3, 2)) is value
