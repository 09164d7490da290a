"""``nni-wcnas run``: an NNI experiment from start to comparison."""

from __future__ import annotations

import argparse

from nni_wcnas.cli.command import add_overrides

__all__ = ['EXAMPLES', 'TEXT', 'add_arguments', 'run']

TEXT = 'an NNI experiment: create, wait with a progress display, export the best cell, stop'
EXAMPLES = ('nni-wcnas run experiments/digits.yml', 'nni-wcnas run experiments/c10.yml --cpu --port 8081')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``run``."""
    add_overrides(parser)
    parser.add_argument('experiment', metavar='EXPERIMENT', help='NNI experiment file')
    parser.add_argument(
        '--port', type=int, default=8080, help='of the web UI; if it is busy the next free one (default: 8080)'
    )
    parser.add_argument('--quiet', action='store_true', help='no progress display')


def run(arguments: argparse.Namespace) -> int:
    """Run an NNI experiment from its start to its comparison."""
    from nni_wcnas.cli.run import run_experiment

    return run_experiment(
        arguments.experiment, arguments.overrides, port=arguments.port, cpu=arguments.cpu, quiet=arguments.quiet
    )
