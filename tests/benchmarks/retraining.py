"""Images a second of a retraining, against a plain loop over the same network.

    python tests/benchmarks/retraining.py    # DARTS V2, 16 channels, 8 cells, CIFAR shape, batch 64
    python tests/benchmarks/retraining.py --cell p_darts --threads 1 --json record.json --check

``plain`` is a loop as DARTS's: a DataLoader over images that torchvision's transforms and cutout change one by one,
float32 in NCHW, SGD, clipping, drop path, auxiliary tower. ``ours`` is ``retrain`` as it is by default, its data on
batches; ``cells`` is ours with ``fast_cell=False``. All train in one process and take turns, a batch each, so that a
noisy machine disturbs all alike. Ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from records import commit, prepare, processor, table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from nni_wcnas.contracts import Choice
from nni_wcnas.data import ImageData, ImageSet, TensorStore
from nni_wcnas.network.cell_network import CellNetwork
from nni_wcnas.retrain.retraining import retrain
from nni_wcnas.spaces.architecture import Architecture

LIMIT = 1.3
"""Images a second of ours to those of the plain loop, at least."""
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
CELLS = {
    'darts_v2': {
        'normal': ('sep_conv_3x3 0 sep_conv_3x3 1', 'sep_conv_3x3 0 sep_conv_3x3 1', 'sep_conv_3x3 1 skip_connect 0',
                   'skip_connect 0 dil_conv_3x3 2'),
        'reduce': ('max_pool_3x3 0 max_pool_3x3 1', 'skip_connect 2 max_pool_3x3 1', 'max_pool_3x3 0 skip_connect 2',
                   'skip_connect 2 max_pool_3x3 1'),
    },
    'p_darts': {
        'normal': ('skip_connect 0 dil_conv_3x3 1', 'skip_connect 0 sep_conv_3x3 1', 'sep_conv_3x3 1 sep_conv_3x3 3',
                   'sep_conv_3x3 0 dil_conv_5x5 4'),
        'reduce': ('avg_pool_3x3 0 sep_conv_5x5 1', 'sep_conv_3x3 0 dil_conv_5x5 2', 'max_pool_3x3 0 dil_conv_3x3 1',
                   'dil_conv_3x3 1 dil_conv_5x5 3'),
    },
}
"""The published cells of DARTS (second order) and P-DARTS, node by node: operation, source, operation, source."""


class Turns:
    """Lets a contender train one batch when it is its turn, and times it."""

    def __init__(self) -> None:
        self.mine, self.theirs = threading.Semaphore(0), threading.Semaphore(0)
        self.seconds: list[float] = []
        self._start: float | None = None

    def __call__(self, *_: Any) -> None:
        """One batch is done: the next begins, its data included, when it is our turn again."""
        if self._start is not None:
            self.seconds.append(time.perf_counter() - self._start)
            self.theirs.release()
        self.mine.acquire()
        self._start = time.perf_counter()


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's CIFAR10 holds them, transformed one by one."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images.permute(0, 2, 3, 1).numpy(), labels.tolist()
        self.transform = transforms.Compose([
            transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
            transforms.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Crop, flip, normalise, then set a square to 0 around a random pixel."""
        image = self.transform(Image.fromarray(self.images[index]))
        mask = np.ones((32, 32), np.float32)
        row, column = np.random.randint(32, size=2)
        mask[max(row - 8, 0) : row + 8, max(column - 8, 0) : column + 8] = 0
        return image * torch.from_numpy(mask), self.labels[index]


def plain(options: argparse.Namespace, images: Tensor, labels: Tensor, network: nn.Module, turn: Turns) -> None:
    """A loop as DARTS's ``train.py``."""
    optimizer = torch.optim.SGD(network.parameters(), 0.025, momentum=0.9, weight_decay=3e-4)
    network.train()
    network.set_drop_path(0.1)
    turn()
    for pictures, targets in DataLoader(Pictures(images, labels), options.batch_size, shuffle=True):
        optimizer.zero_grad()
        logits, auxiliary = network(pictures)
        loss = F.cross_entropy(logits, targets) + 0.4 * F.cross_entropy(auxiliary, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        loss.item(), (logits.argmax(1) == targets).float().mean().item()  # What its meters add up.
        turn()


def ours(options: argparse.Namespace, images: Tensor, labels: Tensor, network: nn.Module, turn: Turns, *,
         fast_cell: bool) -> None:
    """One epoch of ``retrain``, the drop path of the middle of a training."""
    network.register_forward_pre_hook(lambda *_: network.set_drop_path(0.1))
    store = TensorStore(images, labels)
    data = ImageData(ImageSet('noise', tuple('0123456789'), 32, MEAN, STD, store, store), batch_size=options.batch_size,
                     cutout=16)
    loader = data.full_train_dataloader
    data.full_train_dataloader = lambda: Announcing(loader(), turn)  # type: ignore[method-assign]
    retrain(network, data, epochs=1, fast_cell=fast_cell, accelerator='cpu', progress=False)


class Announcing:
    """Batches, each fetched when it is our turn."""

    def __init__(self, loader: DataLoader[Any], turn: Turns) -> None:
        self.loader, self.turn = loader, turn

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Any:
        batches = iter(self.loader)
        while True:
            self.turn()
            batch = next(batches, None)
            if batch is None:
                return
            yield batch


def interleaved(options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each batch, by contender."""
    count = options.batch_size * (options.batches + 2)
    images, labels = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8), torch.arange(count) % 10
    genotype = {name: tuple(_node(node) for node in nodes) for name, nodes in CELLS[options.cell].items()}
    contenders: dict[str, Callable[..., None]] = {'plain': plain, 'ours': _with(True), 'cells': _with(False)}
    turns = {name: Turns() for name in contenders}
    for name, train in contenders.items():
        torch.manual_seed(0)
        network = CellNetwork(Architecture.from_genotype(genotype), options.channels, options.cells)
        arguments = (options, images, labels, network, turns[name])
        threading.Thread(target=train, args=arguments, daemon=True).start()
    for number in range(options.batches):
        for name, turn in turns.items():
            turn.mine.release()
            turn.theirs.acquire()
            print(f'batch {number + 1}/{options.batches} {name}: {turn.seconds[-1]:.3f} s', file=sys.stderr)
    return {name: turn.seconds[options.warm_up :] for name, turn in turns.items()}


def _with(fast_cell: bool) -> Callable[..., None]:
    return lambda *arguments: ours(*arguments, fast_cell=fast_cell)


def _node(text: str) -> tuple[Choice, ...]:
    words = text.split()
    return tuple(Choice(operation, int(source)) for operation, source in zip(words[::2], words[1::2], strict=True))


def main() -> None:
    """Run, print a table, and check or write a record if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cell', choices=tuple(CELLS), default='darts_v2')
    parser.add_argument('--channels', type=int, default=16)
    parser.add_argument('--cells', type=int, default=8)
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--batches', type=int, default=12, help='of each contender')
    parser.add_argument('--warm-up', type=int, default=2, help='batches that are not counted')
    parser.add_argument('--threads', type=int, help="of torch (default: torch's own choice)")
    parser.add_argument('--json', type=Path, help='file to write')
    parser.add_argument('--check', action='store_true', help=f'fail below {LIMIT} times the plain loop')
    options = parser.parse_args()
    prepare(seed=0)
    if options.threads:
        torch.set_num_threads(options.threads)
    seconds = interleaved(options)
    speedup = {name: statistics.median(base / own for base, own in zip(seconds['plain'], times, strict=True))
               for name, times in seconds.items()}
    rates = {name: options.batch_size / statistics.median(times) for name, times in seconds.items()}
    record = {
        'settings': {key: value for key, value in vars(options).items() if key not in ('json', 'check')},
        'images_per_second': rates, 'speedup': speedup, 'seconds': seconds, 'commit': commit(),
        'machine': f'{processor()}, {torch.get_num_threads()} threads',
        'versions': {'python': platform.python_version(), 'torch': torch.__version__,
                     'torchvision': torchvision.__version__},
    }
    rows = [[name, f'{rates[name]:.1f}', f'{speedup[name]:.2f}'] for name in seconds]
    print(table(['', 'images/s', 'times plain'], rows), record['machine'], record['versions'], sep='\n')
    if options.json:
        options.json.write_text(json.dumps(record, indent=2, default=str) + '\n')
    if options.check and speedup['ours'] < LIMIT:
        raise SystemExit(f"ours is {speedup['ours']:.2f} times as fast as plain, and should be {LIMIT}")


if __name__ == '__main__':
    main()
