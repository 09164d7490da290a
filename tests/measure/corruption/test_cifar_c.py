"""The reader of the published arrays: each severity is its own part, and a damaged folder is one sentence."""

import io

import numpy as np
import pytest
import torch
from torch import nn

from nni_wcnas.data import DataError
from nni_wcnas.measure.corruption import CifarC, corruption_errors, mean_error

SHAPE = (50000, 32, 32, 3)


class First(nn.Module):
    """Class = the red level of the first pixel, of ten."""

    def __init__(self):
        super().__init__()
        self.sharpness = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return -self.sharpness * (images[:, 0, 0, 0, None] * 255 - torch.arange(10)).abs()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """One corruption; at severity s the red level of an image is its class, but 9 for 100 s of them.

    Nearly all images are black and of class 0: what is never written takes no room on the disk.
    """
    folder = tmp_path_factory.mktemp('CIFAR-10-C')
    labels = np.zeros(10000, np.uint8)
    labels[:9] = np.arange(9)
    np.save(folder / 'labels.npy', np.tile(labels, 5))
    array = np.lib.format.open_memmap(folder / 'fog.npy', 'w+', np.uint8, SHAPE)
    for severity in range(1, 6):
        part = array[(severity - 1) * 10000 : severity * 10000, 0, 0, 0]
        part[:9] = labels[:9]
        part[9 : 9 + 100 * severity] = 9
    del array
    return folder


@pytest.fixture
def data(make_data):
    image = np.zeros((1, 32, 32, 3), np.uint8)
    return make_data(image, [0], classes=10, batch_size=3000, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def test_each_severity_is_its_part(folder, data):
    images = CifarC(folder, data)
    errors = corruption_errors(First(), images, names=('fog',))
    assert errors['fog'] == {severity: pytest.approx(severity / 100) for severity in range(1, 6)}
    assert errors.scale == 'cifar'
    assert mean_error(errors, ('fog',)) == pytest.approx(0.03)
    assert len(images) == 10000


def test_batches_are_normalised(folder, make_data):
    data = make_data(np.zeros((1, 32, 32, 3), np.uint8), [0], classes=10, mean=(0.5, 0.5, 0.5), std=(0.1, 0.2, 0.4))
    images, labels = next(CifarC(folder, data).batches('fog', 2))
    assert images.shape == (4, 3, 32, 32) and images.dtype is torch.float32
    assert labels.tolist() == [0, 1, 2, 3]
    assert torch.allclose(images[:, 0, 0, 0], (torch.arange(4) / 255 - 0.5) / 0.1)
    assert torch.allclose(images[:, 1:, 5, 5], torch.tensor([-2.5, -1.25]))


def damaged(folder, tmp_path, name, array):
    """A folder with one file replaced; None leaves it out, bytes are written as they are."""
    for file in ('fog.npy', 'labels.npy'):
        if file != name:
            (tmp_path / file).symlink_to(folder / file)
    if isinstance(array, bytes):
        (tmp_path / name).write_bytes(array)
    elif array is not None:
        np.save(tmp_path / name, array)
    return tmp_path


def several():
    """The bytes of an archive of arrays."""
    file = io.BytesIO()
    np.savez(file, np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize('array, message', [
    (None, r'There is no file .*fog\.npy; give the folder'),
    (np.zeros((10, 32, 32, 3), np.uint8), r'fog\.npy holds uint8 of shape \(10, 32, 32, 3\), not uint8 of .*50000'),
    (np.zeros((2, 2)), r'fog\.npy holds float64 of shape \(2, 2\)'),
    (np.array([{}]), r'fog\.npy is no NumPy array; unpack'),
    (b'nonsense', r'fog\.npy is no NumPy array; unpack'),
    (b'', r'fog\.npy is no NumPy array; unpack'),
    (several(), r'fog\.npy is an archive of arrays, not one; give the \.npy file'),
])
def test_damaged_images(array, message, folder, data, tmp_path):
    images = CifarC(damaged(folder, tmp_path, 'fog.npy', array), data)
    with pytest.raises(DataError, match=message):
        corruption_errors(First(), images, names=('fog',))


LABELS = np.tile(np.arange(10000) % 10, 5)


@pytest.mark.parametrize('array, message', [
    (None, r'There is no file .*labels\.npy; give the folder'),
    (LABELS[:10000], r'labels\.npy holds int64 of shape \(10000,\), not integers of shape \(50000,\)'),
    (LABELS.astype(float), r'labels\.npy holds float64 of shape'),
    (LABELS * 11, r'labels from 0 to 99, but made has 10 classes; give the folder and the data of the same CIFAR'),
    (LABELS - 1, 'labels from -1 to 8'),
    (np.sort(LABELS), r'labels\.npy does not repeat the same 10000 labels for each of 5 severities'),
])
def test_damaged_labels(array, message, folder, data, tmp_path):
    with pytest.raises(DataError, match=message):
        CifarC(damaged(folder, tmp_path, 'labels.npy', array), data)


def test_a_truncated_file(folder, data, tmp_path):
    with (folder / 'fog.npy').open('rb') as file:
        beginning = file.read(5000)
    images = CifarC(damaged(folder, tmp_path, 'fog.npy', beginning), data)
    with pytest.raises(DataError, match=r'fog\.npy is no NumPy array; unpack'):
        images.check(('fog',), (1,))


def test_other_bad_input(folder, data, make_data):
    with pytest.raises(DataError, match='have 32 pixels, those of made 16; give the CIFAR'):
        CifarC(folder, make_data(np.zeros((1, 16, 16, 3), np.uint8), [0]))
    images = CifarC(folder, data)
    with pytest.raises(DataError, match=r'no file .*snow\.npy'):  # Before anything is computed for the fog.
        corruption_errors(nn.Linear(1, 1), images, names=('fog', 'snow'))
    with pytest.raises(ValueError, match="no corruption 'labels'"):
        images.check(('labels',), (1,))
    with pytest.raises(ValueError, match='severity=0'):
        images.check(('fog',), (0,))
