"""The command line as a parser of the standard library, and the way from arguments to the command that they name."""

from __future__ import annotations

import argparse

from nni_wcnas.cli.commands import COMMANDS

__all__ = ['make_parser', 'run']


def make_parser() -> argparse.ArgumentParser:
    """Make the parser with all commands, each with its help and examples; nothing slow is imported for it."""
    parser = argparse.ArgumentParser('nni-wcnas', description='Worst-case neural architecture search for NNI.')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for name, command in COMMANDS.items():
        text = command.TEXT
        own = commands.add_parser(
            name,
            help=text,
            description=f'{text[0].upper()}{text[1:]}.',
            epilog='examples:\n' + '\n'.join(f'  {line}' for line in command.EXAMPLES),
            formatter_class=argparse.RawDescriptionHelpFormatter,  # Keeps the lines of the examples.
        )
        command.add_arguments(own)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run the command that the arguments name, and return its exit code.

    Raises
    ------
    CommandError
        For whatever the user can repair, in one sentence or one line for each problem.
    """
    from nni_wcnas.data import DataError
    from nni_wcnas.files.run_directory import RecordError
    from nni_wcnas.measure.truth import TruthError
    from nni_wcnas.retrain.retraining import RetrainingError
    from nni_wcnas.settings.problems import CommandError, for_settings
    from nni_wcnas.spaces.architecture import ArchitectureError

    try:
        return COMMANDS[arguments.command].run(arguments)
    # Their messages are sentences for the user. Any other error is a fault of the program, and keeps its traceback.
    except (ArchitectureError, DataError, RecordError, RetrainingError, TruthError) as error:
        raise CommandError(for_settings(error)) from error
