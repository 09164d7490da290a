"""``nni-wcnas retrain``: a found architecture, from scratch."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from pathlib import Path
from typing import Any

from nni_wcnas.cli.command import continued_with
from nni_wcnas.retrain.recipe import RECIPE_CHOICES, RETRAINING_RECIPES, RetrainingRecipe

__all__ = ['EXAMPLES', 'TEXT', 'add_arguments', 'run']

TEXT = 'train a found architecture from scratch'
EXAMPLES = (
    'nni-wcnas retrain runs/first/architecture.json --data digits --epochs 20 --run runs/again',
    'nni-wcnas retrain runs/c10 --data "{name: cifar10, root: data}" --recipe darts --run runs/full',
    'nni-wcnas retrain runs/c10 --data "{name: cifar10, root: data}" --recipe pc_darts --seed 1 --run runs/p',
)
_NUMBERS = {
    'decay': 'of the learning rate',
    'warmup': 'epochs in which the rate rises',
    'optimizer': "sgd, the papers', or any of timm's by name; its sgd is nesterov here",
    'drop_path': 'chance of dropping a path at the end',
    'label_smoothing': 'share of the target spread over all classes',
    'ema_decay': 'of a moving average of the weights, evaluated in their place; 0 for none',
    'adversarial_steps': 'of PGD on each training batch; 0 for none',
    'stem': 'of the network',
    'max_macs': 'multiply-adds of one image at most; 0 for no limit',
    'precision': 'of the arithmetic; weights are float32',
    'channels_last': 'memory layout',
    'compile': 'by torch.compile',
    'fast_cell': 'compute what edges share once (CPU)',
}
"""Help for those numbers of a retraining whose names do not say it all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``retrain``."""
    parser.add_argument(
        'architecture',
        metavar='ARCHITECTURE',
        help='architecture.json, the run directory that holds it, or the name of a published cell',
    )
    parser.add_argument('--data', required=True, help='name of a data set, or a YAML map of its name and arguments')
    parser.add_argument('--run', required=True, metavar='DIR', help='run directory of the retraining')
    parser.add_argument('--resume', action='store_true', help='go on from the last checkpoint of the run')
    parser.add_argument('--cpu', action='store_true', help='use no GPU')
    parser.add_argument(
        '--devices', type=int, default=1, metavar='N', help='GPUs, or with --cpu processes, that share each batch '
        '(default: 1)'
    )
    _recipe(parser)
    parser.add_argument(
        '--part',
        choices=('train', 'weights'),
        default='train',
        help="train on all training examples or on the weights' half",
    )


def _recipe(parser: argparse.ArgumentParser) -> None:
    """Add the recipe, and an option for each of its numbers; what is not given stays out of the namespace."""
    listed = ''.join(f'\n  {name:12} {recipe.description}' for name, recipe in RETRAINING_RECIPES.items())
    parser.epilog = f'{parser.epilog}\n\nrecipes:{listed}'
    parser.add_argument(
        '--recipe',
        choices=tuple(RETRAINING_RECIPES),
        metavar='NAME',
        help="the papers' numbers for a method or data set, listed below, also for the batch size and cutout "
        'that --data leaves out (default: the numbers in parentheses here)',
    )
    for number in dataclasses.fields(RetrainingRecipe):
        name, default = number.name.replace('_', '-'), number.default
        shown = 'that of the search' if default is None else default
        note = f'{_NUMBERS.get(number.name, "")} (default: {shown})'.strip()
        # SUPPRESS: a number that was not given does not replace a named recipe's, one given its default does.
        keyword: dict[str, Any] = {'dest': number.name, 'default': argparse.SUPPRESS, 'help': note}
        # Each option has the type of the recipe's default, so a new number of a recipe needs nothing here.
        if isinstance(default, bool):
            parser.add_argument(f'--{name}', action=argparse.BooleanOptionalAction, **keyword)
        elif number.name in RECIPE_CHOICES:
            parser.add_argument(f'--{name}', choices=RECIPE_CHOICES[number.name], **keyword)
        else:
            parser.add_argument(f'--{name}', type=type(default), **keyword)


def run(arguments: argparse.Namespace) -> int:
    """Train a found architecture from scratch."""
    from nni_wcnas.cli.retrain import retrain_architecture

    # The parser leaves numbers that were not given out of the namespace, so that they do not replace the recipe's.
    numbers = {name: value for name, value in vars(arguments).items() if name in RetrainingRecipe.__dataclass_fields__}
    with continued_with('--resume'):
        run = retrain_architecture(
            arguments.architecture,
            arguments.data,
            Path(arguments.run).expanduser(),  # A shell leaves the tilde of `--run=~/x`.
            numbers,
            recipe=arguments.recipe,
            part=arguments.part,
            resume=arguments.resume,
            devices=arguments.devices,
            cpu=arguments.cpu,
        )
    print(f'network: {run.checkpoint}\nnow: nni-wcnas evaluate {shlex.quote(str(run.path))}')
    return 0
