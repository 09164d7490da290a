"""What the tests of this folder share: crops of photographs, and tiny data sets of one's own images."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from nni_wcnas.data import ImageSet, TensorStore
from nni_wcnas.data.image_data import ImageData


def crops(count, side, shrink):
    """Different parts of two photographs, shape ``(count, side, side, 3)``."""
    generator, photographs = np.random.default_rng(0), load_sample_images().images
    small = [np.asarray(Image.fromarray(image).reduce(shrink)) for image in photographs]
    chosen = []
    for number in range(count):
        image = small[number % 2]
        top, left = (generator.integers(length - side + 1) for length in image.shape[:2])
        chosen.append(image[top : top + side, left : left + side])
    return np.stack(chosen)


@pytest.fixture(scope='session')
def small_photos():
    return crops(24, 32, 6)


@pytest.fixture(scope='session')
def large_photos():
    return crops(16, 96, 2)


@pytest.fixture
def make_data():
    """Build an ImageData whose test set is given: uint8 images ``(N, H, W, 3)`` and labels."""

    def make(images, labels, classes=2, batch_size=4, **statistics):
        images = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
        train = TensorStore(images[:1].repeat(4 * classes, 1, 1, 1), torch.arange(classes).repeat(4))
        statistics = {'mean': (0.5, 0.5, 0.5), 'std': (0.25, 0.25, 0.25)} | statistics
        names = tuple(f'class {number}' for number in range(classes))
        test = TensorStore(images, torch.as_tensor(labels))
        image_set = ImageSet(name='made', class_names=names, image_size=images.shape[-1], train=train, test=test,
                             **statistics)
        return ImageData(image_set, batch_size=batch_size)

    return make
