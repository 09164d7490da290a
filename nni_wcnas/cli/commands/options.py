"""``nni-wcnas options``: all that there is to choose from."""

from __future__ import annotations

import argparse

__all__ = ['EXAMPLES', 'TEXT', 'add_arguments', 'run']

TEXT = 'all members of all axes, presets, testers, spaces and data sets'
EXAMPLES = ('nni-wcnas options',)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``options``."""
    del parser  # Unused: the command has none.


def run(arguments: argparse.Namespace) -> int:
    """Print the registry: every option of every axis."""
    del arguments  # Unused: the command has none.
    from nni_wcnas.cli.options import print_options

    print_options()
    return 0
