"""``nni-wcnas search``: one search in this process."""

from __future__ import annotations

import argparse
from pathlib import Path

from nni_wcnas.cli.command import add_overrides, continued_with, overrides

__all__ = ['EXAMPLES', 'TEXT', 'add_arguments', 'run']

TEXT = 'one search in this process'
EXAMPLES = (
    'nni-wcnas search experiments/digits.trial.yml --run runs/first',
    'nni-wcnas search experiments/digits.trial.yml --run runs/first --resume',
    'nni-wcnas search experiments/digits.trial.yml --set search.epochs=3 --set method=darts',
    'nni-wcnas search experiments/c10.trial.yml --dry-run',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``search``."""
    parser.add_argument('settings', metavar='SETTINGS', help='YAML file of one trial')
    add_overrides(parser)
    parser.add_argument(
        '--run', metavar='DIR', help='run directory (default: <directory of the settings>/<name of the settings file>)'
    )
    parser.add_argument('--resume', action='store_true', help='go on from the last checkpoint of the run')
    parser.add_argument(
        '--dry-run', action='store_true', help='only say how much memory the search takes, and which batch size fits'
    )


def run(arguments: argparse.Namespace) -> int:
    """Search, and write the report; with ``--dry-run`` only forecast the memory."""
    from nni_wcnas.cli.search import open_run, search
    from nni_wcnas.cli.truth import print_truth
    from nni_wcnas.page.report import write_report
    from nni_wcnas.settings.settings import load_trial

    trial = load_trial(arguments.settings, overrides(arguments))
    if arguments.dry_run:
        from nni_wcnas.cli.memory import forecast

        print(forecast(trial))
        return 0
    # By default the run is named after the settings file up to its first point: digits.trial.yml gives runs/digits.
    default = Path(trial.settings.directory) / Path(arguments.settings).name.split('.')[0]
    # A shell expands the tilde of `--run ~/x`, and leaves that of `--run=~/x`.
    path = Path(arguments.run).expanduser() if arguments.run else default
    run = open_run(path, trial, resume=arguments.resume)
    # The default depends on the settings; the command that continues names the folder itself.
    with continued_with('--resume', *([] if arguments.run else ['--run', str(path)])):
        found = search(trial, run, on_epoch=lambda row, epochs: print(_line(row, epochs), flush=True))
    report = write_report(run)
    if found.truth is not None:
        print_truth(found.truth, found.architecture.string)
    if found.architecture.view is not None:
        print(f'the network sees: {found.architecture.view}')
    print(f'architecture: {run.architecture}\nreport: {report}')
    return 0 if found.history else 1


def _line(row: dict[str, float], epochs: int) -> str:
    """Write the numbers of one epoch on one line, as far as the search has them."""
    shown = {
        # The paper's letters: weights W, architecture A, tester B, auxiliary model V, generator G, discriminator S.
        'val_accuracy': 'accuracy',
        'val_accuracy_hard': 'hard',
        'loss_W': 'W',
        'loss_A': 'A',
        'loss_B': 'B',
        'loss_V': 'V',
        'loss_G': 'G',
        'loss_S': 'S',
        'reference_error': 'reference error',
    }
    parts = [f'{label} {row[name]:.3f}' for name, label in shown.items() if name in row]
    return f'epoch {int(row["epoch"])}/{epochs}  ' + '  '.join(parts)
