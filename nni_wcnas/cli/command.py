"""What a command is: a module of ``cli/commands`` that says its arguments and does its work, and what several share.

A command imports what it needs inside ``run``, so that ``nni-wcnas --help`` is instant.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from nni_wcnas.interruption import Terminated

__all__ = ['Command', 'add_overrides', 'continued_with', 'overrides']


class Command(Protocol):
    """A module of ``cli/commands``, by the name of the command."""

    TEXT: str
    """What it does, for the list of all commands."""
    EXAMPLES: tuple[str, ...]
    """Lines as a user types them."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments of the command to its parser."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do what the arguments say, and return the exit code."""


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add the options that change settings: ``--set`` and ``--cpu``."""
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        dest='overrides',
        help='replace a setting; dotted key, YAML value; may be repeated',
    )
    parser.add_argument('--cpu', action='store_true', help='use no GPU')


def overrides(arguments: argparse.Namespace) -> list[str]:
    """Return the overrides ``key=value`` of a command; ``--cpu`` goes last, over what the user set."""
    return [*arguments.overrides, *(['device=cpu'] if arguments.cpu else [])]


@contextmanager
def continued_with(*more: str, done: str = 'the last whole epoch') -> Iterator[None]:
    """Say on Ctrl-C and SIGTERM which command continues: the one that was given, with more arguments.

    Parameters
    ----------
    *more
        Arguments to add, such as ``--resume``.
    done
        What is kept, for the message.
    """
    try:
        yield
    except KeyboardInterrupt as interruption:
        # `--resume` is added by `more` where the command has it, and must not stand there twice.
        again = [*(word for word in sys.argv[1:] if word != '--resume'), *more]
        how = 'Stopped by SIGTERM' if isinstance(interruption, Terminated) else 'Interrupted'
        raise type(interruption)(f'{how}; {done} is kept. Continue with: nni-wcnas {shlex.join(again)}') from None
