"""Channel shuffle against loops."""

import pytest
import torch

from nni_wcnas.functional.channels import shuffled


@pytest.mark.parametrize(('channels', 'groups'), [(8, 4), (8, 2), (6, 3), (6, 1), (5, 5)])
def test_against_loops(channels, groups):
    images = torch.randn(2, channels, 3, 4)
    expected, position = torch.empty_like(images), 0
    for member in range(channels // groups):
        for group in range(groups):
            expected[:, position] = images[:, group * (channels // groups) + member]
            position += 1
    assert shuffled(images, groups).equal(expected)


def test_two_parts_of_eight_are_undone_by_four():
    images = torch.randn(1, 8, 2, 2)
    assert shuffled(shuffled(images, 2), 4).equal(images) and not shuffled(images, 2).equal(images)


def test_memory_format_is_kept():
    images = torch.randn(2, 8, 3, 3).contiguous(memory_format=torch.channels_last)
    assert shuffled(images, 4).is_contiguous(memory_format=torch.channels_last)
    assert shuffled(images.contiguous(), 4).is_contiguous()


def test_gradients_go_to_where_channels_came_from():
    images = torch.randn(1, 6, 1, 1, requires_grad=True)
    (shuffled(images, 2).flatten() * torch.arange(6.0)).sum().backward()
    assert images.grad.flatten().tolist() == [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]
