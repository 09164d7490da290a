"""The commands of the command line: each takes its parsed arguments to the module that does the work.

Those modules are imported inside the functions, so that a command imports what it needs and no more.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, get_args

from nni_wcnas.data import DataError
from nni_wcnas.files.run_directory import RecordError
from nni_wcnas.measure.truth import TruthError
from nni_wcnas.retrain.recipe import Recipe, RecipeNumbers
from nni_wcnas.retrain.retraining import RetrainingError
from nni_wcnas.settings.problems import CommandError, for_settings
from nni_wcnas.spaces.architecture import ArchitectureError

__all__ = ['run']


def run(arguments: argparse.Namespace) -> int:
    """Run the command that the arguments name, and return its exit code.

    Raises
    ------
    CommandError
        For whatever the user can repair, in one sentence or one line for each problem.
    """
    command = {
        'search': _search,
        'trial': _trial,
        'run': _run,
        'pretrain': _pretrain,
        'images': _images,
        'retrain': _retrain,
        'evaluate': _evaluate,
        'compare': _compare,
        'export': _export,
        'lookup': _lookup,
        'report': _report,
        'options': _options,
    }[arguments.command]
    try:
        return command(arguments)
    # Their messages are sentences for the user. Any other error is a fault of the program, and keeps its traceback.
    except (ArchitectureError, DataError, RecordError, RetrainingError, TruthError) as error:
        raise CommandError(for_settings(error)) from error


def _overrides(arguments: argparse.Namespace) -> list[str]:
    """Return the overrides ``key=value`` of a command; ``--cpu`` goes last, over what the user set."""
    return [*arguments.overrides, *(['device=cpu'] if arguments.cpu else [])]


def _search(arguments: argparse.Namespace) -> int:
    """Search, and write the report; with ``--dry-run`` only forecast the memory."""
    from nni_wcnas.cli.search import open_run, search
    from nni_wcnas.cli.truth import print_truth
    from nni_wcnas.page.report import write_report
    from nni_wcnas.settings.settings import load_settings

    settings = load_settings(arguments.settings, _overrides(arguments))
    if arguments.dry_run:
        from nni_wcnas.cli.memory import forecast

        print(forecast(settings))
        return 0
    # By default the run is named after the settings file up to its first point: digits.trial.yml gives runs/digits.
    path = (
        Path(arguments.run) if arguments.run else Path(settings.directory) / Path(arguments.settings).name.split('.')[0]
    )
    run = open_run(path, settings, resume=arguments.resume)
    # The default depends on the settings; the command that continues names the folder itself.
    with _continued_with('--resume', *([] if arguments.run else ['--run', str(path)])):
        found = search(settings, run, on_epoch=lambda row, epochs: print(_line(row, epochs), flush=True))
    report = write_report(run)
    if found.truth is not None:
        print_truth(found.truth, found.architecture.string)
    if found.architecture.view is not None:
        print(f'the network sees: {found.architecture.view}')
    print(f'architecture: {run.architecture}\nreport: {report}')
    return 0 if found.history else 1


def _trial(arguments: argparse.Namespace) -> int:
    """Run one trial of an NNI experiment, with the parameters that the tuner proposes."""
    import nni

    from nni_wcnas.cli.trial import run_trial
    from nni_wcnas.settings.settings import load_settings

    parameters = nni.get_next_parameter()
    settings = load_settings(arguments.settings, _overrides(arguments), parameters)
    with _continued_with():
        final = run_trial(settings, parameters or {})  # Run by hand, there is no tuner and no proposal.
    print(', '.join(f'{key} {value:.4g}' for key, value in final.items()))
    return 0


def _run(arguments: argparse.Namespace) -> int:
    """Run an NNI experiment from its start to its comparison."""
    from nni_wcnas.cli.run import run_experiment

    return run_experiment(
        arguments.experiment, arguments.overrides, port=arguments.port, cpu=arguments.cpu, quiet=arguments.quiet
    )


def _pretrain(arguments: argparse.Namespace) -> int:
    """Pre-train the settings' tester and auxiliary model."""
    from nni_wcnas.cli.pretrain import pretrain_tester
    from nni_wcnas.settings.settings import load_settings

    settings = load_settings(arguments.settings, _overrides(arguments))
    names = ('epochs', 'auxiliary_steps', 'auxiliary_epochs', 'lr', 'discriminator_steps', 'top_k', 'core_set')
    options = {name: getattr(arguments, name) for name in names}
    with _continued_with('--resume', done='what the file holds'):
        found = pretrain_tester(settings, arguments.out, arguments.steps, resume=arguments.resume, **options)
    losses = '  '.join(f'{name} {value:.4g}' for name, value in found.items() if not name.startswith('seconds'))
    generator, auxiliary = found['seconds_generator'], found['seconds_auxiliary']
    print(
        f'tester: {arguments.out}  {losses}\npre-training: {generator + auxiliary:.1f} s (generator {generator:.1f} s, '
        f'auxiliary model {auxiliary:.1f} s)'
    )
    return 0


def _images(arguments: argparse.Namespace) -> int:
    """Measure the images of a search's tester."""
    from nni_wcnas.cli.images import measure_tester

    measure_tester(arguments.run, count=arguments.count, inception=arguments.inception, seed=arguments.seed,
                   cpu=arguments.cpu)
    return 0


def _retrain(arguments: argparse.Namespace) -> int:
    """Train a found architecture from scratch."""
    from nni_wcnas.cli.retrain import retrain_architecture

    # The parser leaves numbers that were not given out of the namespace, so that they do not replace the recipe's.
    given = {name: value for name, value in vars(arguments).items() if name in Recipe.__dataclass_fields__}
    numbers = cast(RecipeNumbers, given)
    with _continued_with('--resume'):
        run = retrain_architecture(
            arguments.architecture,
            arguments.data,
            arguments.run,
            numbers,
            recipe=arguments.recipe,
            part=arguments.part,
            resume=arguments.resume,
            devices=arguments.devices,
            cpu=arguments.cpu,
        )
    print(f'network: {run.checkpoint}\nnow: nni-wcnas evaluate {shlex.quote(str(run.path))}')
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    """Measure a retrained network with the measures that the options ask for."""
    from nni_wcnas.cli.evaluate import AttackPlan, CorruptionPlan, evaluate_run
    from nni_wcnas.cli.idle_options import refuse_idle_options
    from nni_wcnas.cli.measure_names import attack_names, corruption_names, numbers
    from nni_wcnas.measure.corruption import SEVERITIES, Variant

    # Before defaults are filled in, behind which it could not be told what was given.
    refuse_idle_options(arguments)
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
    with _continued_with(done='what is measured'):
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
            cpu=arguments.cpu,
        )
    return 0


def _given(**options: Any) -> dict[str, Any]:
    """Return the options that were given on the command line; one that was not is None."""
    return {name: value for name, value in options.items() if value is not None}


def _compare(arguments: argparse.Namespace) -> int:
    """Compare the methods of several retrained networks on one page."""
    from nni_wcnas.cli.compare import compare_runs

    compared = compare_runs(arguments.runs, arguments.out, names=arguments.names, title=arguments.title)
    print(f'{compared.verdict}\ncomparison: {compared.page}')
    return 0


def _export(arguments: argparse.Namespace) -> int:
    """Write a network as an ONNX file."""
    from nni_wcnas.cli.export import export

    given = {name: getattr(arguments, name) for name in ('channels', 'cells', 'num_classes')}
    sizes = {name: value for name, value in given.items() if value is not None}
    is_trained = export(arguments.source, arguments.file, image_size=arguments.image_size, **sizes)
    print(f'network: {arguments.file} ({"trained" if is_trained else "new"} weights)')
    return 0


def _lookup(arguments: argparse.Namespace) -> int:
    """Look an architecture up in a table of true values."""
    from nni_wcnas.cli.truth import look_up

    look_up(arguments.architecture, arguments.table)
    return 0


def _report(arguments: argparse.Namespace) -> int:
    """Write the report of a run again."""
    from nni_wcnas.page.report import write_report

    if not (Path(arguments.run) / 'settings.yml').exists():
        raise CommandError(f'{arguments.run} holds no run; give a folder that `nni-wcnas search` or a trial wrote')
    print(f'report: {write_report(arguments.run)}')
    return 0


def _options(arguments: argparse.Namespace) -> int:
    """Print the registry: every option of every axis."""
    del arguments  # Unused: the command has none.
    from nni_wcnas.cli.options import print_options

    print_options()
    return 0


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


@contextmanager
def _continued_with(*more: str, done: str = 'the last whole epoch') -> Iterator[None]:
    """Say on Ctrl-C which command continues: the one that was given, with more arguments.

    Parameters
    ----------
    *more
        Arguments to add, such as ``--resume``.
    done
        What is kept, for the message.
    """
    try:
        yield
    except KeyboardInterrupt:
        # `--resume` is added by `more` where the command has it, and must not stand there twice.
        again = [*(word for word in sys.argv[1:] if word != '--resume'), *more]
        raise KeyboardInterrupt(
            f'Interrupted; {done} is kept. Continue with: nni-wcnas {shlex.join(again)}'
        ) from None
