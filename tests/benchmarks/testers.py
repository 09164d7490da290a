"""What each tester adds to a search iteration, in iterations of first-order DARTS.

    python tests/benchmarks/testers.py    # DARTS space, 16 channels, 8 cells, CIFAR shape, batch 16, every eighth batch
    python tests/benchmarks/testers.py --batches 16 --json record.json --check
    python tests/benchmarks/testers.py --space nasbench201 --width 8 --cells 1 --only augmentation_policy

Contenders take turns, a batch each, as in search_iteration.py. The price of a tester and its auxiliary model is what an
iteration of ``wcnas`` takes beyond one with a tester and an auxiliary model that are next to nothing, a table of images
and a linear classifier; a mean over whole cycles of 8 batches, divided by ``darts``'s seconds.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import warnings
from pathlib import Path

import nni
import torch
from search_iteration import ADVERSARIES, CONTENDERS, SPACES, interleaved, machine
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

import nni_wcnas as wc
from nni_wcnas.contracts import Auxiliary, NamedOptimizer, Noise, SGDStep, Tester
from nni_wcnas.options import list_options, option

LIMIT = 0.25
"""Iterations of ``darts`` that the default tester may add."""
DEFAULT = 'augmentation_policy'
FREE = 'wcnas/free'


class Table(Tester):
    """One learned image a class."""

    num_classes, image_size = 10, 32

    def __init__(self) -> None:
        super().__init__()
        self.images = nn.Parameter(torch.randn(10, 3, 32, 32))

    def noise(self, count, source=None) -> Noise:
        return Noise(None, torch.randint(10, (count,), device=self.images.device))

    def generate(self, noise, generator=None) -> Tensor:
        return (generator or self.hyperparameters())['images'][noise.labels].tanh()

    def hyperparameters(self):
        return {'images': self.images}

    def values(self):
        return {}


class Linear(Auxiliary):
    """A linear classifier of averaged pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(48, 10)

    def learnable(self):
        return dict(self.named_parameters())

    def loss(self, images, labels, parameters=None):
        logits = torch.func.functional_call(self.head, {k[5:]: v for k, v in (parameters or self.learnable()).items()},
                                            F.adaptive_avg_pool2d(images, 4).flatten(1))
        return F.cross_entropy(logits, labels)

    def train_step(self, images, labels):
        return self.loss(images, labels).detach()

    def optimizers(self, epochs):
        return [NamedOptimizer('auxiliary', SGD(self.parameters(), 0.1))]

    def sgd_step(self):
        return SGDStep(0.1)


def contenders() -> dict[str, str]:
    """Name of the contender by tester; the hierarchical BigGAN and separate ResNet-18s apart."""
    ADVERSARIES[FREE] = lambda: {'tester': Table(), 'auxiliary': Linear()}
    for name in list_options('tester'):
        factory = option('tester', name).factory
        ADVERSARIES[f'wcnas/{name}'] = lambda factory=factory: {'tester': factory(10, image_size=32)}
    ADVERSARIES['wcnas/big_gan, hierarchical'] = lambda: {'tester': wc.BigGAN(10, hierarchical=True)}
    ADVERSARIES['wcnas/fq_gan, resnet18'] = lambda: {'tester': wc.FQGAN(10), 'auxiliary': 'resnet18'}
    ADVERSARIES['wcnas/augmentation_policy, resnet18'] = lambda: {
        'tester': wc.AugmentationPolicy(10, image_size=32), 'auxiliary': 'resnet18'
    }
    found = [name for name in ADVERSARIES if name.startswith('wcnas/')]
    CONTENDERS.update(dict.fromkeys(found, wc.presets.wcnas))
    return {name.removeprefix('wcnas/'): name for name in found if name != FREE}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--space', choices=SPACES, default='hub_darts')
    parser.add_argument('--width', type=int, default=16)
    parser.add_argument('--cells', type=int, default=8)
    parser.add_argument('--only', nargs='+', metavar='TESTER', help='a tester, or such as "fq_gan, resnet18"')
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument(
        '--batches', type=int, default=24, help='a multiple of 8; of more than 8 the first 8 are warm-up'
    )
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--check', action='store_true', help=f'exit with 1 when {DEFAULT} is above {LIMIT}')
    parser.add_argument('--json', help='write the record there')
    options = parser.parse_args()
    warnings.filterwarnings('ignore')
    for name in ('nni', 'pytorch_lightning'):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    given = {key: value for key, value in vars(options).items() if key not in ('json', 'check')}
    every = contenders()
    names = every if options.only is None else {name: every[name] for name in options.only}
    vars(options).update(operations=None, precision='32-true', contenders=['darts', FREE, *names.values()])
    results = interleaved(options)
    unit, free = results['darts']['seconds'], results[FREE]['seconds']
    prices = {tester: (results[name]['seconds'] - free) / unit for tester, name in names.items()}
    print(f'{machine(options.device)}, {options.threads} threads, torch {torch.__version__}; darts {unit:.3f} s, '
          f'wcnas without the price of a tester {free:.3f} s')
    print('| tester | iterations of `darts` |\n|---|---|')
    for tester, price in prices.items():
        print(f'| `{tester}` | {price:.2f} |')
    if options.json:
        record = {'machine': machine(options.device), 'python': platform.python_version(), 'torch': torch.__version__,
                  'nni': nni.__version__, 'options': given, 'prices': prices, 'results': results}
        Path(options.json).write_text(json.dumps(record, indent=2) + '\n')
    if options.check and prices.get(DEFAULT, 0) > LIMIT:
        raise SystemExit(f'{DEFAULT} adds {prices[DEFAULT]:.2f} iterations of darts, more than {LIMIT}')


if __name__ == '__main__':
    main()
