"""The batched training transform against torchvision's, image by image."""

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from nni_wcnas.data.augmentation import Augmentation, crop, cutout, flip, normalise


@pytest.mark.parametrize(('size', 'padding'), [(16, 2), (32, 4)])
def test_crop_is_torchvisions(size, padding):
    images = torch.randint(256, (9, 3, size, size), dtype=torch.uint8)
    offsets = torch.randint(2 * padding + 1, (9, 2))
    offsets[0], offsets[1] = 0, 2 * padding
    cropped = crop(images, offsets, padding)
    for image, (top, left), result in zip(images, offsets.tolist(), cropped, strict=True):
        assert result.equal(tv.crop(tv.pad(image, [padding]), top, left, size, size))


def test_flip_is_torchvisions():
    images = torch.rand(4, 3, 8, 8)
    flipped = flip(images, torch.tensor([True, False, False, True]))
    assert flipped[0].equal(tv.horizontal_flip(images[0])) and flipped[3].equal(tv.horizontal_flip(images[3]))
    assert flipped[1:3].equal(images[1:3])


@pytest.mark.parametrize(
    ('centre', 'rows', 'columns'),
    [((16, 16), (8, 24), (8, 24)), ((0, 31), (0, 8), (23, 32)), ((31, 3), (23, 32), (0, 11))],
)
def test_cutout_is_clipped_at_the_borders(centre, rows, columns):
    # The square of DARTS: from centre - 8 to centre + 8, clipped.
    expected = torch.ones(1, 3, 32, 32)
    expected[:, :, rows[0] : rows[1], columns[0] : columns[1]] = 0
    assert cutout(torch.ones(1, 3, 32, 32), torch.tensor([centre]), 16).equal(expected)


def test_cutout_of_an_odd_side_has_that_area():
    assert (cutout(torch.ones(1, 1, 32, 32), torch.tensor([[16, 16]]), 5) == 0).sum() == 25


def test_normalise_inverts():
    images = torch.rand(2, 3, 4, 4)
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    result = normalise(images, mean, std)
    for channel in range(3):
        assert torch.allclose(result[:, channel] * std[channel] + mean[channel], images[:, channel], atol=1e-6)


def test_all_offsets_and_both_sides_occur():
    ramp = torch.arange(1, 257, dtype=torch.float).view(1, 1, 16, 16).expand(4000, 3, -1, -1)
    middle = Augmentation(padding=2).pixels(ramp, seed=0)[:, 0, 8, 8]
    assert sorted(middle.unique().tolist()) == [
        137 + 16 * row + column for row in range(-2, 3) for column in range(-2, 3)
    ]
    mirrored = Augmentation(flip=True).pixels(ramp, seed=0)[:, 0, 0, 0] == 16
    assert 0.45 < mirrored.double().mean() < 0.55
    holes = Augmentation(cutout=1).normalised(ramp, seed=0)[:, 0] == 0
    assert holes.sum((1, 2)).unique().tolist() == [1] and holes.any(0).all()


def test_operations_draw_from_streams_of_their_own():
    images = torch.rand(8, 3, 16, 16)
    both = Augmentation(padding=2, flip=True).pixels(images, seed=3)
    cropped = Augmentation(padding=2).pixels(images, seed=3)
    same = (both == cropped).flatten(1).all(1)
    assert same.any() and not same.all()
    assert flip(cropped, ~same).equal(both)


def test_the_default_does_nothing():
    images = torch.rand(2, 3, 8, 8)
    assert Augmentation().normalised(Augmentation().pixels(images, 0), 0) is images
