"""The commands of ``nni-wcnas``, a module each; in the order in which ``--help`` lists them."""

from __future__ import annotations

from nni_wcnas.cli.command import Command
from nni_wcnas.cli.commands import (
    compare,
    evaluate,
    export,
    images,
    lookup,
    options,
    pretrain,
    report,
    retrain,
    run,
    search,
    trial,
)

__all__ = ['COMMANDS']

COMMANDS: dict[str, Command] = {
    module.__name__.rpartition('.')[2]: module
    for module in (
        search, trial, run, pretrain, images, retrain, evaluate, compare, export, lookup, report, options
    )
}
"""Modules by the name that a user types."""
