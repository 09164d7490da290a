"""The arguments of every command, as parsers of the standard library; it imports nothing that is slow."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from nni_wcnas.retrain.recipe import RECIPE_CHOICES, RECIPES, Recipe

__all__ = ['make_parser']

_EXAMPLES = {
    'search': (
        'nni-wcnas search experiments/digits.trial.yml --run runs/first',
        'nni-wcnas search experiments/digits.trial.yml --run runs/first --resume',
        'nni-wcnas search experiments/digits.trial.yml --set search.epochs=3 --set method=darts',
        'nni-wcnas search experiments/c10.trial.yml --dry-run',
    ),
    'trial': (
        'nni-wcnas trial experiments/digits.trial.yml',
        'trialCommand: nni-wcnas trial digits.trial.yml      (in an NNI experiment file)',
    ),
    'run': ('nni-wcnas run experiments/digits.yml', 'nni-wcnas run experiments/c10.yml --cpu --port 8081'),
    'pretrain': (
        'nni-wcnas pretrain experiments/digits.trial.yml runs/tester.pt --steps 300 --lr 1e-3 --discriminator-steps 2',
        'nni-wcnas pretrain experiments/c10.trial.yml runs/c10-tester.pt --steps 10000 --top-k --core-set 4',
        'nni-wcnas pretrain experiments/c10.trial.yml runs/c10-resnet18.pt --set tester=augmentation_policy \\\n'
        '      --set auxiliary=resnet18 --auxiliary-epochs 10',
    ),
    'images': (
        'nni-wcnas images runs/first',
        'nni-wcnas images runs/c10 --count 10000 --inception inception-2015-12-05.pt',
    ),
    'retrain': (
        'nni-wcnas retrain runs/first/architecture.json --data digits --epochs 20 --run runs/again',
        'nni-wcnas retrain runs/c10 --data "{name: cifar10, root: data}" --recipe darts --run runs/full',
        'nni-wcnas retrain runs/c10 --data "{name: cifar10, root: data}" --recipe pc_darts --seed 1 --run runs/p',
    ),
    'evaluate': (
        'nni-wcnas evaluate runs/again',
        'nni-wcnas evaluate runs/full --difficulty cifar10h-counts.npy --kind votes',
        'nni-wcnas evaluate runs/full --corruptions --attacks fgsm,pgd_20,cw_l2 --attack-limit 500',
        'nni-wcnas evaluate runs/imagenet --difficulty none --imagenet-c ImageNet-C --imagenet-a imagenet-a',
    ),
    'compare': (
        'nni-wcnas compare runs/darts-0 runs/darts-1 runs/wcnas-0 runs/wcnas-1 --out runs/comparison',
        'nni-wcnas compare records/*.json --name records/ours.json=ours --out comparison',
    ),
    'export': (
        'nni-wcnas export runs/again network.onnx',
        'nni-wcnas export darts_v2 darts.onnx --channels 16 --cells 8',
    ),
    'lookup': (
        'nni-wcnas lookup runs/first --table nb201_cifar10.csv.gz',
        "nni-wcnas lookup '|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|' --table nb201.csv",
    ),
    'report': ('nni-wcnas report runs/first',),
    'options': ('nni-wcnas options',),
}
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
_TEXTS = {
    'search': 'one search in this process',
    'trial': 'what nnictl runs: one search, a short retraining, results to NNI',
    'run': 'an NNI experiment: create, wait with a progress display, export the best cell, stop',
    'pretrain': "pre-train generator and auxiliary model for the settings' `tester.pretrained`",
    'images': "inception score, FID, KID, precision and recall of the images of a search's tester",
    'retrain': 'train a found architecture from scratch',
    'evaluate': 'test error of a retrained architecture: overall, at its worst, under corruptions and attacks',
    'compare': 'one record a network, and one page that compares methods over their seeds',
    'export': 'write a retrained network, or an architecture with new weights, as an ONNX file',
    'lookup': 'how good a found architecture of NAS-Bench-201 truly is, by a table of all',
    'report': 'write report.html of a run again',
    'options': 'all members of all axes, presets, testers, spaces and data sets',
}


def make_parser() -> argparse.ArgumentParser:
    """Make the parser with all commands, each with its help and examples."""
    parser = argparse.ArgumentParser('nni-wcnas', description='Worst-case neural architecture search for NNI.')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    parsers = {}
    for name, text in _TEXTS.items():
        epilog = 'examples:\n' + '\n'.join(f'  {line}' for line in _EXAMPLES[name])
        parsers[name] = commands.add_parser(
            name,
            help=text,
            description=f'{text[0].upper()}{text[1:]}.',
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,  # Keeps the lines of the examples.
        )
    for name in ('search', 'trial', 'pretrain'):
        parsers[name].add_argument('settings', metavar='SETTINGS', help='YAML file of one trial')
    for name in ('search', 'trial', 'run', 'pretrain'):
        _overrides(parsers[name])
    _search(parsers['search'])
    _run(parsers['run'])
    _pretrain(parsers['pretrain'])
    _images(parsers['images'])
    _retrain(parsers['retrain'])
    _evaluate(parsers['evaluate'])
    _compare(parsers['compare'])
    _export(parsers['export'])
    _lookup(parsers['lookup'])
    parsers['report'].add_argument('run', metavar='RUN', help='run directory')
    return parser


def _overrides(parser: argparse.ArgumentParser) -> None:
    """Add the options that change settings: ``--set`` and ``--cpu``."""
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        dest='overrides',
        help='replace a setting; dotted key, YAML value; may be repeated',
    )
    parser.add_argument('--cpu', action='store_true', help='use no GPU')


def _search(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``search``."""
    parser.add_argument(
        '--run', metavar='DIR', help='run directory (default: <directory of the settings>/<name of the settings file>)'
    )
    parser.add_argument('--resume', action='store_true', help='go on from the last checkpoint of the run')
    parser.add_argument(
        '--dry-run', action='store_true', help='only say how much memory the search takes, and which batch size fits'
    )


def _run(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``run``."""
    parser.add_argument('experiment', metavar='EXPERIMENT', help='NNI experiment file')
    parser.add_argument(
        '--port', type=int, default=8080, help='of the web UI; if it is busy the next free one (default: 8080)'
    )
    parser.add_argument('--quiet', action='store_true', help='no progress display')


def _pretrain(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``pretrain``; what is not given is taken from the settings, or else has a default."""
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


def _images(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``images``."""
    parser.add_argument('run', metavar='RUN', help='run directory of a search with a tester, or of a trial')
    parser.add_argument(
        '--count', type=int, default=5000, metavar='N', help='images to generate, and real ones at most (default: 5000)'
    )
    parser.add_argument(
        '--inception', metavar='FILE', help='local weights of Inception-v3, TorchScript or a state dict of torchvision '
        "(default: the data set's reference nets, trained once on the CPU)"
    )
    parser.add_argument('--seed', type=int, default=0, help='of what the images are made from (default: 0)')
    parser.add_argument('--cpu', action='store_true', help='use no GPU')


def _retrain(parser: argparse.ArgumentParser) -> None:
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
    listed = ''.join(f'\n  {name:12} {recipe.description}' for name, recipe in RECIPES.items())
    parser.epilog = f'{parser.epilog}\n\nrecipes:{listed}'
    parser.add_argument(
        '--recipe',
        choices=tuple(RECIPES),
        metavar='NAME',
        help="the papers' numbers for a method or data set, listed below, also for the batch size and cutout "
        'that --data leaves out (default: the numbers in parentheses here)',
    )
    for number in dataclasses.fields(Recipe):
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


def _evaluate(parser: argparse.ArgumentParser) -> None:
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


def _compare(parser: argparse.ArgumentParser) -> None:
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


def _export(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``export``; sizes default to None, as trained weights have theirs already."""
    parser.add_argument('source', metavar='RUN_OR_ARCHITECTURE', help='run directory of a retraining or of a '
                        'trial; for new weights an architecture file or a published cell')
    parser.add_argument('file', metavar='FILE', help='.onnx file to write')
    parser.add_argument(
        '--image-size', type=int, help='side of the images in pixels (default: what the network was trained on; 32 for '
        'new weights)'
    )
    for name, default in (('channels', 36), ('cells', 20), ('num-classes', 10)):
        parser.add_argument(f'--{name}', type=int, help=f'of new weights (default: {default})')


def _lookup(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lookup``."""
    parser.add_argument(
        'architecture',
        metavar='ARCHITECTURE',
        help="architecture.json, the run directory that holds it, or the benchmark's string",
    )
    parser.add_argument(
        '--table',
        required=True,
        metavar='FILE',
        help='CSV file, gzipped or not, with a column arch_str and columns of numbers; rank 1 is the highest value',
    )
