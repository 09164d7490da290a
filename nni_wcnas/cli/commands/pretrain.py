"""``nni-wcnas pretrain``: generator and auxiliary model, before the search."""

from __future__ import annotations

import argparse

from nni_wcnas.cli.command import add_overrides, continued_with, overrides

__all__ = ['EXAMPLES', 'TEXT', 'add_arguments', 'run']

TEXT = "pre-train generator and auxiliary model for the settings' `tester.pretrained`"
EXAMPLES = (
    'nni-wcnas pretrain experiments/c10.trial.yml runs/tester.pt --steps 300 --lr 1e-3 --discriminator-steps 2',
    'nni-wcnas pretrain experiments/c10.trial.yml runs/c10-tester.pt --steps 10000 --top-k --core-set 4',
    'nni-wcnas pretrain experiments/c10.trial.yml runs/c10-resnet18.pt --set tester=augmentation_policy \\\n'
    '      --set auxiliary=resnet18 --auxiliary-epochs 10',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``pretrain``; what is not given is taken from the settings, or else has a default."""
    parser.add_argument('settings', metavar='SETTINGS', help='YAML file of one trial')
    add_overrides(parser)
    parser.add_argument('out', metavar='OUT', help='file to write')
    for prefix, whose, default in (
        ('', 'of the generator', 'pretraining.steps of the settings, else 1000'),
        ('auxiliary-', 'of the auxiliary model', "auxiliary.steps of the settings, else pretraining.steps, else 1000"),
    ):
        length = parser.add_mutually_exclusive_group()  # Two lengths would contradict each other.
        length.add_argument(f'--{prefix}steps', type=int, metavar='N', help=f'steps {whose} (default: {default})')
        length.add_argument(
            f'--{prefix}epochs', type=int, metavar='N', help=f"length {whose} in passes over the weights' half instead"
        )
    parser.add_argument(
        '--lr',
        type=float,
        help="Adam's rate for generator and discriminator (default: pretraining.lr, else that of the GAN's authors)",
    )
    parser.add_argument(
        '--discriminator-steps',
        type=int,
        metavar='N',
        help='discriminator steps to each generator step (default: pretraining.discriminator_steps, else those of the '
        "GAN's authors)",
    )
    parser.add_argument(
        '--top-k',
        action=argparse.BooleanOptionalAction,
        help='the generator learns from its most real images of a batch only',
    )
    parser.add_argument(
        '--core-set',
        type=int,
        metavar='FACTOR',
        help='each batch is a diverse selection of FACTOR times as many latents and images (default: '
        'pretraining.core_set, else 1)',
    )
    parser.add_argument('--resume', action='store_true', help='go on from OUT')


def run(arguments: argparse.Namespace) -> int:
    """Pre-train the settings' tester and auxiliary model."""
    from nni_wcnas.cli.pretrain import pretrain_tester
    from nni_wcnas.settings.settings import load_settings

    settings = load_settings(arguments.settings, overrides(arguments))
    names = ('epochs', 'auxiliary_steps', 'auxiliary_epochs', 'lr', 'discriminator_steps', 'top_k', 'core_set')
    options = {name: getattr(arguments, name) for name in names}
    with continued_with('--resume', done='what the file holds'):
        found = pretrain_tester(settings, arguments.out, arguments.steps, resume=arguments.resume, **options)
    losses = '  '.join(f'{name} {value:.4g}' for name, value in found.items() if not name.startswith('seconds'))
    generator, auxiliary = found['seconds_generator'], found['seconds_auxiliary']
    print(
        f'tester: {arguments.out}  {losses}\npre-training: {generator + auxiliary:.1f} s (generator {generator:.1f} s, '
        f'auxiliary model {auxiliary:.1f} s)'
    )
    return 0
