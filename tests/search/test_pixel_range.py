"""Reading images whose normalisation is not known."""

import math

import pytest
import torch

from nni_wcnas.search.pixel_range import PixelRange


def test_undoes_a_normalisation_by_mean_and_deviation():
    torch.manual_seed(0)
    mean, std = torch.tensor([0.49, 0.48, 0.45]).view(3, 1, 1), torch.tensor([0.25, 0.24, 0.26]).view(3, 1, 1)
    pixels = torch.rand(8, 3, 4, 4)
    pixels[0, :, 0, 0], pixels[3, :, 1, 2] = 0, 1
    shown, reader = (pixels - mean) / std, PixelRange()
    reader.fit(shown)
    torch.testing.assert_close(reader.clean(shown), 2 * pixels - 1)
    torch.testing.assert_close(reader.renormalise(reader.clean(shown)), shown)
    changed = torch.rand(5, 3, 4, 4)
    torch.testing.assert_close(reader.renormalise(2 * changed - 1), (changed - mean) / std)


def test_the_first_batch_decides_for_good():
    reader = PixelRange()
    reader.fit(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1))
    state = {name: value.clone() for name, value in reader.state_dict().items()}
    reader.fit(torch.randn(2, 3, 4, 4))
    resumed = PixelRange()
    resumed.load_state_dict(state)
    resumed.fit(torch.randn(2, 3, 4, 4))
    for other in (reader, resumed):
        assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())
    assert state.keys() == {'low', 'high'}
    assert reader.clean(torch.full((1, 3, 1, 1), 7.0)).eq(1).all(), 'clamped'


def test_a_channel_of_one_value_is_black():
    reader, images = PixelRange(), torch.zeros(2, 3, 2, 2)
    images[0, 0] = 4.0
    reader.fit(images)
    assert reader.clean(images)[:, 1:].eq(-1).all()
    assert torch.equal(reader.renormalise(reader.clean(images)), images)


@pytest.mark.parametrize(
    'images',
    [torch.rand(4, 1, 8, 8), torch.rand(4, 3), torch.full((4, 3, 2, 2), math.nan)],
    ids=['grey', 'flat', 'nan'],
)
def test_what_are_no_images(images):
    with pytest.raises(ValueError, match=r'images of shape \(N, 3, H, W\) with finite pixels.*AverageCase'):
        PixelRange().fit(images)


def test_inputs_that_are_no_tensor_are_refused():
    with pytest.raises(ValueError, match=r'evaluator has batches whose inputs are a list: convert the images, or use'):
        PixelRange().fit([torch.zeros(2, 4, 8), torch.zeros(2, 4, 8)])
