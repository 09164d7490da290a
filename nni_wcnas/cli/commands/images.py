"""``nni-wcnas images``: what a tester's images are like."""

from __future__ import annotations

import argparse

__all__ = ['EXAMPLES', 'TEXT', 'add_arguments', 'run']

TEXT = "inception score, FID, KID, precision and recall of the images of a search's tester"
EXAMPLES = (
    'nni-wcnas images runs/first',
    'nni-wcnas images runs/c10 --count 10000 --inception inception-2015-12-05.pt',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``images``."""
    parser.add_argument('run', metavar='RUN', help='run directory of a search with a tester, or of a trial')
    parser.add_argument(
        '--count', type=int, default=5000, metavar='N', help='images to generate, and real ones at most (default: 5000)'
    )
    parser.add_argument(
        '--inception', metavar='FILE', help='local weights of Inception-v3, TorchScript or a state dict of torchvision '
        "(default: the data set's reference nets, trained once on the CPU)"
    )
    parser.add_argument('--seed', type=int, default=0, help='of what the images are made from (default: 0)')
    parser.add_argument('--cpu', action='store_true', help='use no GPU')


def run(arguments: argparse.Namespace) -> int:
    """Measure the images of a search's tester."""
    from nni_wcnas.cli.images import measure_tester

    measure_tester(arguments.run, count=arguments.count, inception=arguments.inception, seed=arguments.seed,
                   cpu=arguments.cpu)
    return 0
