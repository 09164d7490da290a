"""Rows of one class each, from generators and from testers that change real images."""

import torch
from torch import nn

from nni_wcnas import FQGAN
from nni_wcnas.contracts import Batch, Noise, Tester
from nni_wcnas.measure.image.tester_images import class_rows, sample


class Darkening(Tester):
    """Draws among real images in a random order, and darkens them."""

    num_classes, image_size = 3, 8

    def __init__(self):
        super().__init__()
        self.b = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def noise(self, count, source=None):
        drawn = torch.randperm(len(source.labels))[:count]
        return Noise(source.clean[drawn], source.labels[drawn])

    def generate(self, noise, generator=None):
        return noise.latent * self.b

    def hyperparameters(self):
        return {'b': self.b}

    def values(self):
        return {'darkness': self.b.item()}


def real(counts=(4, 2, 3)):
    """Real images whose brightness tells their class."""
    labels = torch.arange(3).repeat_interleave(torch.tensor(counts))
    images = (labels / 4 + 0.1).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()
    return Batch(images, labels, None, images)


def test_a_generator_makes_every_class():
    tester = FQGAN(3, image_size=16, width=4, latent=6, dictionary_size=5)
    torch.manual_seed(0)
    images, labels = class_rows(tester, 2, real())
    torch.manual_seed(0)
    noise = tester.noise(6)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert images.equal(tester.generate(Noise(noise.latent, labels)))
    torch.manual_seed(0)
    images, labels = sample(tester, 6, real())
    assert labels.equal(noise.labels) and images.equal(tester.generate(noise))


def test_real_images_keep_their_labels():
    images, labels = class_rows(Darkening(), 3, real())
    assert labels.tolist() == [0, 0, 0, 1, 1, 2, 2, 2], 'as many as there are'
    assert torch.allclose(images[:, 0, 0, 0], (labels / 4 + 0.1).double() / 2)
    assert images.dtype == torch.float64, 'in the precision of the tester'
    images, labels = sample(Darkening(), 500, real())
    assert len(images) == 9 and labels.sort().values.equal(real().labels)
    assert torch.allclose(images[:, 0, 0, 0], (labels / 4 + 0.1).double() / 2)
