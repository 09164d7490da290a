"""``nni-wcnas compare``: methods over their seeds."""

from __future__ import annotations

import argparse

__all__ = ['EXAMPLES', 'TEXT', 'add_arguments', 'run']

TEXT = 'one record a network, and one page that compares methods over their seeds'
EXAMPLES = (
    'nni-wcnas compare runs/darts-0 runs/darts-1 runs/wcnas-0 runs/wcnas-1 --out runs/comparison',
    'nni-wcnas compare records/*.json --name records/ours.json=ours --out comparison',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``compare``."""
    parser.add_argument(
        'runs', metavar='RUN', nargs='+', help='run directory of a retraining or of a trial, or a record.json'
    )
    parser.add_argument(
        '--out', required=True, metavar='DIR',
        help='folder for compare.html and records/, whose files of the same methods and seeds are replaced; it is '
        'refused while it holds other records',
    )
    parser.add_argument(
        '--name', action='append', default=[], metavar='RUN=NAME', dest='names',
        help='method of a run, in the place of that of its search; may be repeated',
    )
    parser.add_argument('--title', default='Comparison', help='of the page')


def run(arguments: argparse.Namespace) -> int:
    """Compare the methods of several retrained networks on one page."""
    from nni_wcnas.cli.compare import compare_runs

    compared = compare_runs(arguments.runs, arguments.out, names=arguments.names, title=arguments.title)
    print(f'{compared.verdict}\ncomparison: {compared.page}')
    return 0
