"""Folders of small photographs: 4 classes of crops of scikit-learn's two pictures."""

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images


def write_photographs(root, count=24, suffix='.jpg', names='abcd'):
    """Write ``count`` crops of 40x40 pixels for each class: two quarters of each picture are the four classes."""
    pictures = load_sample_images().images
    random = np.random.default_rng(0)
    for number, name in enumerate(names):
        folder = root / name
        folder.mkdir(parents=True)
        half = pictures[number % 2][:, :320] if number < 2 else pictures[number % 2][:, 320:]
        for index in range(count):
            top, left = random.integers(half.shape[0] - 40), random.integers(half.shape[1] - 40)
            Image.fromarray(half[top : top + 40, left : left + 40]).save(folder / f'{index}{suffix}')
    return root
