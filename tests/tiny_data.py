"""DARTS's published cells, and a small data set that is a function of its seed and the epoch."""

import torch

from nni_wcnas.contracts import Batch, Choice


def edges(*pairs):
    return tuple(Choice(operation, source) for operation, source in pairs)


DARTS_V2 = {
    'normal': (
        edges(('sep_conv_3x3', 0), ('sep_conv_3x3', 1)),
        edges(('sep_conv_3x3', 0), ('sep_conv_3x3', 1)),
        edges(('sep_conv_3x3', 1), ('skip_connect', 0)),
        edges(('skip_connect', 0), ('dil_conv_3x3', 2)),
    ),
    'reduce': (
        edges(('max_pool_3x3', 0), ('max_pool_3x3', 1)),
        edges(('skip_connect', 2), ('max_pool_3x3', 1)),
        edges(('max_pool_3x3', 0), ('skip_connect', 2)),
        edges(('skip_connect', 2), ('max_pool_3x3', 1)),
    ),
}


class TinyData:
    """Noise with a bright corner that tells the class; remembers what it was asked for."""

    num_classes = 3
    name = 'tiny'
    batch_size = 6

    def __init__(self, seed=0, batches=3, size=8):
        self.seed = seed
        self.batches = batches
        self.size = size
        self.epoch = 0
        self.asked = []

    def set_epoch(self, epoch):
        self.epoch = epoch

    def batch(self, *key):
        generator = torch.Generator().manual_seed(hash((self.seed, *key)))
        labels = torch.randint(self.num_classes, (self.batch_size,), generator=generator)
        images = torch.randn(self.batch_size, 3, self.size, self.size, generator=generator)
        images[torch.arange(self.batch_size), labels, :4, :4] += 2
        return Batch(images, labels, torch.arange(self.batch_size))

    def loader(self, *key):
        for number in range(self.batches):
            self.asked.append((key[0], self.epoch, number))
            yield self.batch(*key, self.epoch, number)

    def full_train_dataloader(self):
        return Loader(self, 1)

    def train_dataloader(self):
        return Loader(self, 2)

    def evaluation_dataloader(self, part):
        return [self.batch(3, number) for number in range(self.batches)]


class Loader:
    """Iterable many times, as a DataLoader is."""

    def __init__(self, data, kind):
        self.data = data
        self.kind = kind

    def __len__(self):
        return self.data.batches

    def __iter__(self):
        return self.data.loader(self.kind)
