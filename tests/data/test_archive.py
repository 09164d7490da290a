"""The archives of torchvision, as small files of the right format; torchvision's checksums are replaced by theirs."""

import gzip
import hashlib
import os
import pickle
import struct

import numpy as np
import pytest
import scipy.io
import torch
from torchvision import datasets

from nni_wcnas.data import CIFAR10, CIFAR100, STL10, SVHN, DataError, FashionMNIST
from nni_wcnas.data.archive import LabelledSTL10

GENERATOR = np.random.default_rng(0)


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_pickle(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return md5(path)


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    folder = tmp_path / 'cifar-10-batches-py'
    pixels = GENERATOR.integers(256, size=(6, 40, 3072), dtype=np.uint8)
    sums = {}
    for number, name in enumerate([*(f'data_batch_{n}' for n in range(1, 6)), 'test_batch']):
        sums[name] = write_pickle(folder / name, {'data': pixels[number], 'labels': [n % 10 for n in range(40)]})
    meta = write_pickle(folder / 'batches.meta', {'label_names': [f'class {n}' for n in range(10)]})
    monkeypatch.setattr(datasets.CIFAR10, 'train_list', [[name, sums[name]] for name in list(sums)[:5]])
    monkeypatch.setattr(datasets.CIFAR10, 'test_list', [['test_batch', sums['test_batch']]])
    monkeypatch.setattr(datasets.CIFAR10, 'meta', {'filename': 'batches.meta', 'key': 'label_names', 'md5': meta})
    return tmp_path, pixels


def test_cifar10(cifar10):
    root, pixels = cifar10
    data = CIFAR10(root, batch_size=50)
    assert (data.name, data.num_classes, data.image_size, data.class_names[9]) == ('cifar10', 10, 32, 'class 9')
    assert data.images.train.images.equal(torch.from_numpy(pixels[:5].reshape(200, 3, 32, 32))), (
        "order and channels are the archive's"
    )
    assert data.images.test.images.equal(torch.from_numpy(pixels[5].reshape(40, 3, 32, 32)))
    assert data.weight_indices.equal(torch.arange(100)) and data.architecture_indices.equal(torch.arange(100, 200))
    assert data.mean == (0.49139968, 0.48215827, 0.44653124) and data.std == (0.24703233, 0.24348505, 0.26158768)
    assert data.augmentation.flip and data.augmentation.padding == 4
    assert len(CIFAR10(str(root), download=True).test_indices) == 40, 'nothing is fetched that is there'


def test_cifar100(tmp_path, monkeypatch):
    folder = tmp_path / 'cifar-100-python'
    pixels = GENERATOR.integers(256, size=(400, 3072), dtype=np.uint8)
    sums = {
        name: write_pickle(folder / name, {'data': pixels, 'fine_labels': [n % 100 for n in range(400)]})
        for name in ('train', 'test')
    }
    meta = write_pickle(folder / 'meta', {'fine_label_names': [str(n) for n in range(100)]})
    monkeypatch.setattr(datasets.CIFAR100, 'train_list', [['train', sums['train']]])
    monkeypatch.setattr(datasets.CIFAR100, 'test_list', [['test', sums['test']]])
    monkeypatch.setattr(datasets.CIFAR100, 'meta', {'filename': 'meta', 'key': 'fine_label_names', 'md5': meta})
    data = CIFAR100(tmp_path)
    assert (data.name, data.num_classes, data.mean) == ('cifar100', 100, (0.5071, 0.4867, 0.4408))
    with pytest.raises(
        DataError, match='limit=150 is too small: with split=0.5 one half would hold 75 examples of 100 classes'
    ):
        CIFAR100(tmp_path, limit=150)


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f'>HBB{array.ndim}I', 0, 8, array.ndim, *array.shape) + array.tobytes())


def write_fashion(root):
    pixels = GENERATOR.integers(1, 256, size=(40, 28, 28), dtype=np.uint8)
    for part in ('train', 't10k'):
        write_idx(root / 'FashionMNIST' / 'raw' / f'{part}-images-idx3-ubyte', pixels)
        write_idx(root / 'FashionMNIST' / 'raw' / f'{part}-labels-idx1-ubyte', (np.arange(40) % 10).astype(np.uint8))
    return pixels


def test_fashion_mnist(tmp_path):
    pixels = write_fashion(tmp_path)
    data = FashionMNIST(tmp_path)
    images = data.images.train.images
    assert images.shape == (40, 3, 32, 32) and data.image_size == 32 and data.class_names[0] == 'T-shirt/top'
    assert (images[:, :, 2:30, 2:30] == torch.from_numpy(pixels)[:, None]).all()
    assert images.sum() == 3 * pixels.sum(dtype=np.int64), 'the frame is black'
    assert data.augmentation.flip


def test_svhn(tmp_path, monkeypatch):
    pixels = GENERATOR.integers(256, size=(32, 32, 3, 40), dtype=np.uint8)
    sums = {}
    for part in ('train', 'test'):
        path = tmp_path / f'{part}_32x32.mat'
        scipy.io.savemat(path, {'X': pixels, 'y': (np.arange(40) % 10 + 1)[:, None].astype(np.uint8)})
        sums[part] = ['', path.name, md5(path)]
    monkeypatch.setattr(datasets.SVHN, 'split_list', sums)
    data = SVHN(tmp_path)
    assert data.images.train.images.equal(torch.from_numpy(pixels.transpose(3, 2, 0, 1).copy()))
    assert data.images.train.labels[:11].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1], 'class 10 is the digit 0'
    assert not data.augmentation.flip and data.mean == (0.4377, 0.4438, 0.4728)


@pytest.fixture
def stl10(tmp_path, monkeypatch):
    """Official layout: images by channel and column, classes from 1; without the file of unlabelled images."""
    folder = tmp_path / 'stl10_binary'
    folder.mkdir()
    pixels = GENERATOR.integers(256, size=(2, 20, 3, 96, 96), dtype=np.uint8)
    for part, images in zip(('train', 'test'), pixels):
        (folder / f'{part}_X.bin').write_bytes(images.transpose(0, 1, 3, 2).tobytes())
        (folder / f'{part}_y.bin').write_bytes((np.arange(20) % 10 + 1).astype(np.uint8).tobytes())
        sums = [[f'{part}_{kind}.bin', md5(folder / f'{part}_{kind}.bin')] for kind in 'Xy']
        monkeypatch.setattr(LabelledSTL10, f'{part}_list', sums)
    return tmp_path, pixels


def test_stl10(stl10):
    root, pixels = stl10
    data = STL10(root, batch_size=10)
    assert (data.name, data.num_classes, data.image_size, len(data.test_indices)) == ('stl10', 10, 96, 20)
    assert data.images.train.images.equal(torch.from_numpy(pixels[0]))
    assert data.images.test.images.equal(torch.from_numpy(pixels[1]))
    assert data.images.train.labels.tolist() == [*range(10)] * 2 and data.class_names[7] == 'monkey'
    assert data.augmentation.flip and data.augmentation.padding == 12
    assert data.mean == (0.4467, 0.4398, 0.4066) and data.std == (0.2603, 0.2566, 0.2713)


def test_a_damaged_stl10(stl10):
    root, _ = stl10
    path = root / 'stl10_binary' / 'test_y.bin'
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match='STL-10 under .* is incomplete or damaged .*; remove .*stl10_binary and pass'):
        STL10(root)


def test_stl10_is_checked_by_torchvisions_sums():
    assert LabelledSTL10.train_list == datasets.STL10.train_list[:2]
    assert [name for name, _ in LabelledSTL10.train_list] == ['train_X.bin', 'train_y.bin']
    assert LabelledSTL10.test_list is datasets.STL10.test_list


@pytest.mark.parametrize(
    ('kind', 'title', 'landmark'),
    [
        (CIFAR10, 'CIFAR-10', 'cifar-10-batches-py'),
        (CIFAR100, 'CIFAR-100', 'cifar-100-python'),
        (FashionMNIST, 'Fashion-MNIST', 'FashionMNIST'),
        (SVHN, 'SVHN', 'train_32x32.mat'),
        (STL10, 'STL-10', 'stl10_binary'),
    ],
)
def test_a_missing_data_set(tmp_path, kind, title, landmark):
    with pytest.raises(DataError) as caught:
        kind(tmp_path)
    assert str(caught.value) == (
        f'{title} was not found under {tmp_path}; pass download=True to fetch it, or the folder that holds {landmark}.'
    )
    wrong = tmp_path / 'wrong'
    with pytest.raises(DataError) as caught:
        kind(wrong)
    assert str(caught.value) == (
        f'The folder {wrong} does not exist; pass the folder that holds {landmark}, or download=True to fetch '
        f'{title} into it.'
    )
    assert not wrong.exists()


def test_a_damaged_pickle(cifar10):
    path = cifar10[0] / 'cifar-10-batches-py' / 'data_batch_3'
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(
        DataError,
        match=r'CIFAR-10 under .* is incomplete or damaged \(.*\); remove .*cifar-10-batches-py and pass '
        r'download=True to fetch it again.',
    ):
        CIFAR10(cifar10[0])


@pytest.mark.parametrize('content', [b'', b'\x00\x00\x08\x03', gzip.compress(b'not unpacked')])
def test_damaged_images(tmp_path, content):
    write_fashion(tmp_path)
    (tmp_path / 'FashionMNIST' / 'raw' / 't10k-images-idx3-ubyte').write_bytes(content)
    with pytest.raises(DataError, match='Fashion-MNIST under .* is incomplete or damaged'):
        FashionMNIST(tmp_path)


def test_labels_that_do_not_match(tmp_path):
    write_fashion(tmp_path)
    write_idx(tmp_path / 'FashionMNIST' / 'raw' / 'train-labels-idx1-ubyte', np.zeros(39, dtype=np.uint8))
    with pytest.raises(DataError, match=r'There are 40 images but labels of shape \(39,\)'):
        FashionMNIST(tmp_path)


def test_a_failed_download(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError('no network')

    monkeypatch.setattr(datasets.CIFAR10, 'download', fail)
    with pytest.raises(DataError) as caught:
        CIFAR10(tmp_path, download=True)
    assert str(caught.value) == (
        f'CIFAR-10 could not be downloaded to {tmp_path} (no network); check the network and the folder, or put '
        f'cifar-10-batches-py there yourself.'
    )


@pytest.mark.slow
@pytest.mark.skipif('NNI_WCNAS_CIFAR10' not in os.environ, reason='NNI_WCNAS_CIFAR10 names no folder with CIFAR-10')
def test_the_real_cifar10():
    data = CIFAR10(os.environ['NNI_WCNAS_CIFAR10'])
    assert data.weight_indices.equal(torch.arange(25000)) and data.architecture_indices.equal(
        torch.arange(25000, 50000)
    )
    pixels = data.images.train.images.float() / 255
    assert torch.allclose(pixels.mean((0, 2, 3)), torch.tensor(data.mean), atol=1e-4)
    assert torch.allclose(pixels.std((0, 2, 3)), torch.tensor(data.std), atol=1e-4)
    seen = list(data.train_dataloader())
    assert len(seen) == 391 and len(seen[-1].labels) == 40
