"""``nni-wcnas evaluate``: a retrained network at its worst."""

from __future__ import annotations

import argparse
from typing import Any, get_args

from nni_wcnas.cli.command import continued_with

__all__ = ['EXAMPLES', 'TEXT', 'add_arguments', 'run']

TEXT = 'test error of a retrained architecture: overall, at its worst, under corruptions and attacks'
EXAMPLES = (
    'nni-wcnas evaluate runs/again',
    'nni-wcnas evaluate runs/full --difficulty cifar10h-counts.npy --kind votes',
    'nni-wcnas evaluate runs/full --corruptions --attacks fgsm,pgd_20,cw_l2 --attack-limit 500',
    'nni-wcnas evaluate runs/imagenet --difficulty none --imagenet-c ImageNet-C --imagenet-a imagenet-a',
)
_NEEDS = {
    'kind': ('difficulty',),
    'cifar_c': ('corruptions',),
    'corruption_severities': ('corruptions', 'imagenet_c'),
    'corruption_limit': ('corruptions', 'imagenet_c'),
    'attack_limit': ('attacks', 'attack_epsilons'),
    'attack_epsilon': ('attacks',),
}
"""Options by name, each with others of which one must be given, too."""
# Options that are lists with commas, and attacks that have no epsilon.
_LISTS = ('corruptions', 'corruption_severities', 'attacks', 'attack_epsilons')
_WITHOUT_EPSILON = {'cw_l2'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evaluate``.

    Options that belong together default to None, so that one which would do nothing can be told and refused.
    """
    parser.add_argument('run', metavar='RUN', help='run directory of a retraining, or of a trial')
    parser.add_argument(
        '--difficulty',
        metavar='FILE',
        help=".npy file of the test set's difficulty; `reference` for that by six small nets, trained once on the CPU; "
        '`none` to leave the hardest images out (default: what the run was measured with, else reference)',
    )
    parser.add_argument(
        '--kind',
        choices=('scores', 'votes', 'agreement', 'indices'),
        help='what the file holds (default: scores); indices are the hard images themselves, also as a text with one '
        'a line',
    )
    parser.add_argument('--share', type=float, help='share of the hardest examples (default: 0.1; without '
                        '--difficulty that of before)')
    parser.add_argument('--groups', metavar='FILE', help='.npy file with a group, an integer, for each test example')
    parser.add_argument('--group-names', metavar='FILE', help='JSON map from group to name')
    parser.add_argument(
        '--corruptions',
        nargs='?',
        const='all',
        metavar='NAMES',
        help='measure under corruptions: names with commas between, benchmark for its 15, all for 19; give RUN before '
        'it (default: none)',
    )
    parser.add_argument(
        '--corruption-severities', metavar='NUMBERS', help='of 1 to 5 (default: all)'
    )
    parser.add_argument(
        '--corruption-limit', type=int, metavar='N', help='test images to corrupt, as many of each class (default: all)'
    )
    parser.add_argument('--cifar-c', metavar='DIR', help='folder of the published CIFAR-10-C or CIFAR-100-C arrays')
    _imagenet(parser)
    parser.add_argument(
        '--attacks', metavar='NAMES', help='fgsm, pgd_N with N steps, cw_l2, autoattack; commas between'
    )
    parser.add_argument(
        '--attack-limit', type=int, metavar='N', help='test images to attack (default: 1000)'
    )
    parser.add_argument(
        '--attack-epsilon', type=float, help='largest change of a pixel, of 255 (default: 8)'
    )
    parser.add_argument(
        '--attack-epsilons', metavar='NUMBERS', help='points of the curve of PGD-20, of 255, e.g. 0,1,2,4,8'
    )
    parser.add_argument('--root', metavar='DIR', help='where the data are now (default: where the run found them)')
    parser.add_argument(
        '--list-images', metavar='FILE.csv',
        help='only write the test images by index, which --groups and --difficulty follow, with file and class',
    )
    parser.add_argument('--cpu', action='store_true', help='use no GPU')


def _imagenet(parser: argparse.ArgumentParser) -> None:
    """Add the options for the published variants of ImageNet."""
    parser.add_argument(
        '--imagenet-c',
        metavar='DIR',
        help='folder of the published ImageNet-C, with a folder a corruption; the 15 of the benchmark, unless '
        '--corruptions names others',
    )
    # The destinations imagenet_a and so on are the names of the variants, by which the command finds them.
    for letter in ('a', 'r', 'sketch'):
        parser.add_argument(
            f'--imagenet-{letter}', metavar='DIR', help=f'folder of ImageNet-{letter.title()}, with a folder a class'
        )


def run(arguments: argparse.Namespace) -> int:
    """Measure a retrained network with the measures that the options ask for."""
    from nni_wcnas.cli.evaluate import AttackPlan, CorruptionPlan, evaluate_run, list_images
    from nni_wcnas.cli.measure_names import attack_names, corruption_names, numbers
    from nni_wcnas.measure.corruption import SEVERITIES, Variant

    # Before defaults are filled in, behind which it could not be told what was given.
    _refuse_idle_options(arguments)
    if arguments.list_images:
        list_images(arguments.run, arguments.list_images, root=arguments.root)
        return 0
    severities = numbers(arguments.corruption_severities or '', '--corruption-severities')
    corruptions = CorruptionPlan(
        corruption_names(arguments.corruptions or ('benchmark' if arguments.imagenet_c else '')),
        [int(number) for number in severities] or SEVERITIES,
        arguments.corruption_limit,
        arguments.cifar_c,
        arguments.imagenet_c,
    )
    attacks = AttackPlan(
        attack_names(arguments.attacks or ''),
        epsilons=numbers(arguments.attack_epsilons or '', '--attack-epsilons'),
        **_given(limit=arguments.attack_limit, epsilon=arguments.attack_epsilon),  # Else AttackPlan's own defaults.
    )
    with continued_with(done='what is measured'):
        evaluate_run(
            arguments.run,
            difficulty=arguments.difficulty,
            kind=arguments.kind or 'scores',
            share=arguments.share,
            groups=arguments.groups,
            group_names=arguments.group_names,
            corruptions=corruptions,
            attacks=attacks,
            variants={name: folder for name in get_args(Variant) if (folder := vars(arguments)[name])},
            root=arguments.root,
            cpu=arguments.cpu,
        )
    return 0


def _given(**options: Any) -> dict[str, Any]:
    """Return the options that were given on the command line; one that was not is None."""
    return {name: value for name, value in options.items() if value is not None}


def _refuse_idle_options(arguments: argparse.Namespace) -> None:
    """Check options against each other; one that was not given is None.

    Raises
    ------
    CommandError
        One sentence that names the option, and what it needs.
    """
    from nni_wcnas.measure.hard_images import NONE, REFERENCE
    from nni_wcnas.settings.problems import CommandError

    # The parser's default of all these options is None, so a value says that the option was given.
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    for name in _LISTS:
        if name in given and not _words(given[name]):
            raise CommandError(f'{_option(name)} {given[name]!r} lists nothing; list something, or leave it out')
    for name, needs in _NEEDS.items():
        if name in given and given.keys().isdisjoint(needs):
            raise CommandError(f'{_option(name)} does nothing without {" or ".join(map(_option, needs))}; give that, '
                               'too, or leave it out')
    if 'kind' in given and given['difficulty'] in (NONE, REFERENCE):
        raise CommandError(f'--kind does nothing with --difficulty {given["difficulty"]}, which is no file; leave it '
                           'out')
    if 'attack_epsilon' in given and _words(given['attacks']) <= _WITHOUT_EPSILON:
        raise CommandError(f'--attack-epsilon does nothing with --attacks {given["attacks"]}, which has none; leave it '
                           'out')


def _words(text: str) -> set[str]:
    """Return the words of a list with commas."""
    return {word.strip() for word in text.split(',')} - {''}


def _option(name: str) -> str:
    """Write the name of an argument as the option that the user types."""
    return f'--{name.replace("_", "-")}'
