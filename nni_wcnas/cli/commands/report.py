"""``nni-wcnas report``: the page of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ['EXAMPLES', 'TEXT', 'add_arguments', 'run']

TEXT = 'write report.html of a run again'
EXAMPLES = ('nni-wcnas report runs/first',)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``report``."""
    parser.add_argument('run', metavar='RUN', help='run directory')


def run(arguments: argparse.Namespace) -> int:
    """Write the report of a run again."""
    from nni_wcnas.page.report import write_report
    from nni_wcnas.settings.problems import CommandError

    if not (Path(arguments.run) / 'settings.yml').exists():
        raise CommandError(f'{arguments.run} holds no run; give a folder that `nni-wcnas search` or a trial wrote')
    print(f'report: {write_report(arguments.run)}')
    return 0
