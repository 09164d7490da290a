"""``nni-wcnas lookup``: true values of an architecture."""

from __future__ import annotations

import argparse

__all__ = ['EXAMPLES', 'TEXT', 'add_arguments', 'run']

TEXT = 'how good a found architecture of NAS-Bench-201 truly is, by a table of all'
EXAMPLES = (
    'nni-wcnas lookup runs/first --table nb201_cifar10.csv.gz',
        "nni-wcnas lookup '|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|' --table nb201.csv",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lookup``."""
    parser.add_argument(
        'architecture',
        metavar='ARCHITECTURE',
        help="architecture.json, the run directory that holds it, or the benchmark's string",
    )
    parser.add_argument(
        '--table',
        required=True,
        metavar='FILE',
        help='CSV file, gzipped or not, with a column arch_str and columns of numbers; rank 1 is the highest value',
    )


def run(arguments: argparse.Namespace) -> int:
    """Look an architecture up in a table of true values."""
    from nni_wcnas.cli.truth import look_up

    look_up(arguments.architecture, arguments.table)
    return 0
