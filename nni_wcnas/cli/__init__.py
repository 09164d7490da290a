"""The command ``nni-wcnas``. Only the parser is imported before the arguments are read, so ``--help`` is instant."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ['main']


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments
        Without the program's name; by default those of the process.

    Returns
    -------
    int
        Exit code: 0 done, 1 failed, 2 wrong input, 130 interrupted, 143 stopped by SIGTERM.
    """
    from nni_wcnas.cli.parser import make_parser, run
    from nni_wcnas.cli.quiet import silence_noise
    from nni_wcnas.interruption import Terminated, terminable
    from nni_wcnas.settings.problems import CommandError

    parsed = make_parser().parse_args(arguments)
    # Before the command imports NNI, which warns while it is imported.
    silence_noise()
    try:
        with terminable():
            return run(parsed)
    except CommandError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        is_signal = isinstance(interrupt, Terminated)
        print(str(interrupt) or ('Stopped by SIGTERM.' if is_signal else 'Interrupted.'), file=sys.stderr)
        return 143 if is_signal else 130
