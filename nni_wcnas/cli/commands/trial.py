"""``nni-wcnas trial``: what an NNI experiment runs."""

from __future__ import annotations

import argparse

from nni_wcnas.cli.command import add_overrides, continued_with, overrides

__all__ = ['EXAMPLES', 'TEXT', 'add_arguments', 'run']

TEXT = 'what nnictl runs: one search, a short retraining, results to NNI'
EXAMPLES = (
    'nni-wcnas trial experiments/digits.trial.yml',
    'trialCommand: nni-wcnas trial digits.trial.yml      (in an NNI experiment file)',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``trial``."""
    parser.add_argument('settings', metavar='SETTINGS', help='YAML file of one trial')
    add_overrides(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run one trial of an NNI experiment, with the parameters that the tuner proposes."""
    import nni

    from nni_wcnas.cli.trial import run_trial
    from nni_wcnas.settings.settings import load_trial

    parameters = nni.get_next_parameter()
    trial = load_trial(arguments.settings, overrides(arguments), parameters)
    with continued_with():
        final = run_trial(trial, parameters or {})  # Run by hand, there is no tuner and no proposal.
    print(', '.join(f'{key} {value:.4g}' for key, value in final.items()))
    return 0
