"""``nni-wcnas evaluate``: measure a retrained network on test data, at its worst, under corruptions and under attack.

What is measured is written at once, to ``measures.json`` and ``record.json`` of the run: a second call makes only what
is missing, unless the weights or what a measure depends on have changed; it keeps the difficulty and the groups of the
first unless others are given.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from nni_wcnas.cli.measured_table import print_measures
from nni_wcnas.cli.retraining_run import data_of, find_retraining
from nni_wcnas.data import ImageData
from nni_wcnas.data.difficulty import Kind, hardest
from nni_wcnas.data.identity import check_identity, identify
from nni_wcnas.data.image_list import write_image_list
from nni_wcnas.data.store import TensorStore
from nni_wcnas.files.record import Record, describe, fingerprint, load_record, record_path
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.files.search_cost import search_cost
from nni_wcnas.measure.attack import attack_curve, attack_errors
from nni_wcnas.measure.autoattack import require_autoattack
from nni_wcnas.measure.corruption import (
    BENCHMARK,
    SEVERITIES,
    CifarC,
    CorruptedImages,
    CorruptedTestSet,
    CorruptionErrors,
    Variant,
    corruption_errors,
    mean_corruption_error,
    mean_error,
    relative_mean_corruption_error,
)
from nni_wcnas.measure.example import show_examples
from nni_wcnas.measure.group_file import Groups, load_groups, shortcut_groups
from nni_wcnas.measure.hard_images import NONE, HardImages, hard_images
from nni_wcnas.measure.imagenet_images import check_variants, imagenet_c, measure_variant
from nni_wcnas.measure.kept_measures import CURVE, KeptMeasures
from nni_wcnas.measure.measures import measure_predictions
from nni_wcnas.measure.predictions import predict
from nni_wcnas.network.build import trained
from nni_wcnas.network.cell_network import CellNetwork, count_macs, count_parameters
from nni_wcnas.page.report import write_report
from nni_wcnas.settings.assembly import has_gpu
from nni_wcnas.settings.problems import CommandError, for_settings

__all__ = ['AttackPlan', 'CorruptionPlan', 'evaluate_run', 'list_images']

_HARDEST_SHOWN = 16
"""Number of the hardest test images whose predictions go into the record."""
_LARGEST_CIFAR_SIDE = 64
"""Side in pixels up to which images get CIFAR-10-C's severities; larger ones get ImageNet-C's."""


@dataclass(frozen=True)
class CorruptionPlan:
    """Which corruptions to measure, and on which images; none by default."""

    names: Sequence[str] = ()
    severities: Sequence[int] = (1, 2, 3, 4, 5)
    limit: int | None = None
    """About how many test images, as many of each class; None takes all."""
    cifar_c: str | None = None
    """Folder of the published arrays of CIFAR-C; None corrupts the test set itself."""
    imagenet_c: str | None = None
    """Folder of the published images of ImageNet-C; None corrupts the test set itself."""


@dataclass(frozen=True)
class AttackPlan:
    """Which attacks to measure, and how strong; none by default."""

    names: Sequence[str] = ()
    limit: int | None = 1000
    epsilon: float = 8.0
    """Largest change of a pixel, in units of 1/255."""
    epsilons: Sequence[float] = ()
    """Points of the curve of PGD-20, in units of 1/255."""


def list_images(path: str | Path, file: str | Path, *, root: str | None = None) -> None:
    """Write the test images of a retraining by index, file and class; arguments are those of :func:`evaluate_run`."""
    data = data_of(find_retraining(RunDirectory(path)), root)
    try:
        write_image_list(data, Path(file))
    except OSError as error:
        raise CommandError(f'{file} cannot be written ({error.strerror}); give another --list-images') from error


def evaluate_run(
    path: str | Path,
    *,
    difficulty: str | None = None,
    kind: Kind = 'scores',
    share: float | None = None,
    groups: str | None = None,
    group_names: str | None = None,
    corruptions: CorruptionPlan | None = None,
    attacks: AttackPlan | None = None,
    variants: Mapping[Variant, str] | None = None,
    root: str | None = None,
    cpu: bool = False,
    quiet: bool = False,
) -> dict[str, float]:
    """Measure a retrained network on the test set; write measures, record and report, and print a table.

    Parameters
    ----------
    path
        Run folder of a retraining, or of a search or trial that holds one.
    difficulty, kind, share
        How the hardest images are told, as in :func:`nni_wcnas.measure.hard_images.hard_images`.
    groups, group_names
        Files with the group of each test image, and with the groups' names; None keeps the groups of an earlier call.
    corruptions, attacks
        What else to measure; None measures neither.
    variants
        Folder of each of ImageNet's variants to measure on.
    root
        Where the data are now; None takes the place where the retraining found them.
    cpu
        Whether to use no GPU.
    quiet
        Whether to print no table.

    Returns
    -------
    dict
        All measures of the run, earlier ones included.

    Raises
    ------
    CommandError
        When the run holds no retrained network, or something that was given does not fit.
    """
    run = find_retraining(RunDirectory(path))
    corruptions, attacks = corruptions or CorruptionPlan(), attacks or AttackPlan()
    try:
        data = data_of(run, root)
        check_identity(run.path, identify(data))
        network = _network(run, data).to('cuda' if has_gpu() and not cpu else 'cpu')
        # All that was given is read and checked here, before the first measure takes its time.
        labelled = load_groups(groups, group_names, len(data.images.test))
        images = _corrupted(data, corruptions) if corruptions.names else None
        shown = check_variants(variants or {}, data)
        if attacks.names or attacks.epsilons:
            _check_attacks(attacks, data.num_classes)
        evaluation = KeptMeasures(run, _begun(run, data), network, data)
        # Groups of a file that an earlier call was given stay; else the data may have groups by a planted shortcut.
        if labelled is None and 'groups' not in evaluation.record.measured_with:
            labelled = shortcut_groups(data)
        known = evaluation.record.measured_with.get('test')
        hard = hard_images(data, known, difficulty=difficulty, kind=kind, share=share)
        _test(evaluation, hard, labelled)
        if images is not None:
            _corruptions(evaluation, images, corruptions)
        for variant, depends_on in shown.items():
            _variant(evaluation, variant, (variants or {})[variant], depends_on)
        if attacks.names or attacks.epsilons:
            _attacks(evaluation, attacks)
        # Writes the files also where all was known, so that a damaged or deleted one is whole again.
        evaluation.add({})
    except (ValueError, ModuleNotFoundError) as error:
        raise CommandError(for_settings(error)) from error
    measures = evaluation.record.measures
    write_report(run, measures, title=f'Retraining {run.path.resolve().name}')
    if not quiet:
        print_measures(run, measures, hard.share)
    return measures


def _network(run: RunDirectory, data: ImageData) -> CellNetwork:
    """Load the network of a retraining, and check that it has as many classes as the data."""
    network = trained(run.path)
    if network.classifier.out_features != data.num_classes:
        raise CommandError(
            f'{run.checkpoint} is of a network for {network.classifier.out_features} classes, but {data.name} of '
            f'{run.settings} has {data.num_classes}; put back the files that belong together'
        )
    return network


def _begun(run: RunDirectory, data: ImageData) -> Record:
    """Return the run's record so far; without measures if these were made with other weights or data."""
    path = run.path.resolve()
    # All trials call their retraining 'retraining': their own name says more.
    record = describe(run, path.parent.name if path.name == 'retraining' else path.name)
    weights, known = fingerprint(run.checkpoint), record_path(run)
    if known.exists():
        earlier = load_record(known)
        if (earlier.checkpoint, earlier.settings.get('data')) == (weights, record.settings['data']):
            record = replace(record, measures=earlier.measures, measured_with=earlier.measured_with,
                             hardest=earlier.hardest)
        elif earlier.measures:
            print(f'{known} is of other weights or data: all is measured again', file=sys.stderr)
    return replace(record, measures={**record.measures, **search_cost(run)}, checkpoint=weights, data=data.name,
                   class_names=list(data.class_names))


def _test(evaluation: KeptMeasures, hard: HardImages, groups: Groups | None) -> None:
    """Measure on the clean test set in one pass, unless all that it gives is known already.

    Parameters
    ----------
    evaluation
        Known measures, to which these are added.
    hard
        The hardest images, and where their difficulty comes from.
    groups
        Group of each test image; None measures no groups, or keeps earlier ones.
    """
    network, data = evaluation.network, evaluation.data
    depends_on: dict[str, dict[str, Any]] = {'test': {'difficulty': hard.source, 'share': hard.share}}
    if groups is not None:
        depends_on['groups'] = {'source': groups.source}
    # What the measures depend on is compared with what they were made with; equal means known.
    if not any(evaluation.differs(*item) for item in depends_on.items()):
        return
    predictions, size = predict(network, data, 'test')
    labels, names = (None, None) if groups is None else (groups.values, groups.names)
    measures = measure_predictions(predictions, hard.scores, hard.share, labels, names)
    # Multiply-adds depend on the side of the images.
    measures |= {'parameters': float(count_parameters(network)), 'macs': float(count_macs(network, size))}
    # Scores are None where the hard images are those of before: then their earlier pictures stay, too.
    examples = [] if hard.source == NONE else evaluation.record.hardest
    if hard.scores is not None:
        shown = hardest(hard.scores, data.test_indices, min(hard.share, _HARDEST_SHOWN / len(data.test_indices)))
        examples = show_examples(predictions, data.images.test.read(shown), shown)
    # Only now: a pass that fails or is interrupted forgets nothing.
    for item in depends_on.items():
        evaluation.begin(*item)
    evaluation.add(measures, hardest=examples)


def _corrupted(data: ImageData, plan: CorruptionPlan) -> CorruptedImages:
    """Return the corrupted images to measure on, after checking that they have all corruptions of the plan."""
    images: CorruptedImages
    if plan.imagenet_c is not None:
        if plan.cifar_c is not None:
            raise CommandError('--cifar-c and --imagenet-c are of different data sets; give one of them')
        images = imagenet_c(plan.imagenet_c, data, plan.limit)
    elif plan.cifar_c is not None:
        if plan.limit is not None:
            raise CommandError(f'--corruption-limit {plan.limit} does not limit published arrays; leave it out')
        images = CifarC(plan.cifar_c, data)
    else:
        # The published parameters of a corruption differ between images of 32 and of 224 pixels.
        scale: Literal['cifar', 'imagenet'] = 'cifar' if data.image_size <= _LARGEST_CIFAR_SIDE else 'imagenet'
        images = CorruptedTestSet(data if plan.limit is None else _limited(data, plan.limit), scale=scale)
    images.check(plan.names, plan.severities)
    return images


def _limited(data: ImageData, limit: int) -> ImageData:
    """Return the same data with the first ``limit // num_classes`` test images of each class only."""
    if limit < data.num_classes:
        raise CommandError(
            f'--corruption-limit {limit} is less than one image of each class; give at least {data.num_classes}'
        )
    test = data.images.test
    # nonzero() of a class is (n, 1): the positions of its images, of which the first are taken.
    chosen = torch.cat([(test.labels == label).nonzero()[: limit // data.num_classes, 0]
                        for label in range(data.num_classes)])
    store = TensorStore(test.read(chosen), test.labels[chosen])
    return ImageData(replace(data.images, test=store), batch_size=data.batch_size, seed=data.seed)


def _corruptions(evaluation: KeptMeasures, images: CorruptedImages, plan: CorruptionPlan) -> None:
    """Measure corruption by corruption, then the mean where all that it is defined by is known."""
    source = 'published arrays' if plan.cifar_c else 'published folders' if plan.imagenet_c else 'test set'
    folder = plan.cifar_c or plan.imagenet_c
    where = {} if folder is None else {'folder': str(Path(folder).resolve())}
    # Any other images or severities' scale give other errors: then all corruptions are measured again.
    told = {'scale': images.scale, 'source': source, 'images': len(images), 'seed': 0, **where}
    evaluation.begin('corruptions', told)
    for name in plan.names:
        # Each corruption is on disk before the next one begins, so an interrupted evaluation goes on where it stopped.
        left = [severity for severity in plan.severities if evaluation.missing(f'error_corruption_{name}_{severity}')]
        if left:
            found = corruption_errors(
                evaluation.network, images, names=[name], severities=left, progress=sys.stderr.isatty()
            )
            evaluation.add({f'error_corruption_{name}_{severity}': error for severity, error in found[name].items()})
    # Errors by corruption and severity, those of earlier calls included.
    known: dict[str, dict[int, float]] = {}
    for key, value in evaluation.record.measures.items():
        if key.startswith('error_corruption_') and key[-1].isdigit():
            name, severity = key.removeprefix('error_corruption_').rsplit('_', 1)
            known.setdefault(name, {})[int(severity)] = value
    # CIFAR's published score is the mean over 15 corruptions and 5 severities. ImageNet's mCE divides each corruption's
    # errors by AlexNet's; the relative one takes the clean error off both first.
    if all(severity in known.get(name, {}) for name in BENCHMARK for severity in SEVERITIES):
        errors = CorruptionErrors(known, scale=images.scale)
        if images.scale == 'cifar':
            evaluation.add({'error_corruption_mean': mean_error(errors)})
        else:
            relative = relative_mean_corruption_error(errors, evaluation.record.measures['error'])
            evaluation.add({'mce': mean_corruption_error(errors), 'relative_mce': relative})


def _variant(evaluation: KeptMeasures, variant: Variant, folder: str, depends_on: dict[str, Any]) -> None:
    """Measure on one of ImageNet's variants, unless its error is known."""
    evaluation.begin(variant, depends_on)
    if evaluation.missing(f'error_{variant}'):
        evaluation.add(measure_variant(evaluation.network, variant, folder, evaluation.data,
                                       progress=sys.stderr.isatty()))


def _check_attacks(plan: AttackPlan, num_classes: int) -> None:
    """Refuse numbers that no attack can have, and an attack that is not installed, before anything is measured."""
    if not 0 < plan.epsilon < math.inf:
        raise CommandError(f'--attack-epsilon is {plan.epsilon:g}; give a number above 0')
    if not all(0 <= epsilon < math.inf for epsilon in plan.epsilons):
        raise CommandError('--attack-epsilons has a number below 0 or none at all; give numbers from 0')
    if plan.limit is not None and plan.limit < num_classes:
        raise CommandError(
            f'--attack-limit {plan.limit} is less than one image of each class; give at least {num_classes}'
        )
    if 'autoattack' in plan.names:
        require_autoattack()


def _attacks(evaluation: KeptMeasures, plan: AttackPlan) -> None:
    """Measure attack by attack, then point by point of the curve, whose epsilons are its own."""
    network, data, progress = evaluation.network, evaluation.data, sys.stderr.isatty()
    if plan.names:
        evaluation.begin('attacks', {'limit': plan.limit, 'epsilon': plan.epsilon, 'seed': 0})
    for name in plan.names:
        if evaluation.missing(f'error_attack_{name}'):
            # On the command line epsilon is in units of 1/255, to an attack it is a share of the range of pixels.
            found = attack_errors(
                network, data, (name,), limit=plan.limit, epsilon=plan.epsilon / 255, progress=progress
            )
            evaluation.add({_attack_key(key, name): value for key, value in found.items()})
    if plan.epsilons:
        # Without an epsilon: each point of the curve has its own, in its name.
        evaluation.begin('curve', {'limit': plan.limit, 'seed': 0})
    for epsilon in plan.epsilons:
        if evaluation.missing(f'{CURVE}{epsilon:.6g}'):
            found = attack_curve(network, data, (epsilon / 255,), limit=plan.limit, progress=progress)
            evaluation.add({f'{CURVE}{epsilon:.6g}': value for value in found.values()})


def _attack_key(key: str, name: str) -> str:
    """Return the name of an attack's measure in a run: ``error_attack_`` goes before errors, the others stay."""
    return f'error_attack_{key.removeprefix("error_")}' if key.startswith(f'error_{name}') else key
