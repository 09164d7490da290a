"""``nni-wcnas images``: how real, diverse and recognisable a tester's images are; table 20 of papers/wcnas.

The tester is that of the search's last checkpoint, its images are the live generator's, as during the search. They are
compared with real images of the architecture's half, from which no tester learns.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from nni_wcnas.contracts import GenerativeTester, Tester
from nni_wcnas.data import ImageData
from nni_wcnas.data.identity import check_identity, identify
from nni_wcnas.data.reference import reference_models
from nni_wcnas.files.checkpoint import check_checkpoint
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.measure.image.extractor import Extractor, inception_extractor, reference_extractor
from nni_wcnas.measure.image.generated_images import describe, measure_images
from nni_wcnas.measure.image.image_judge import clean_images
from nni_wcnas.measure.image.tester_images import sample
from nni_wcnas.page.report import write_report
from nni_wcnas.settings import assembly
from nni_wcnas.settings.consistency import is_without_b
from nni_wcnas.settings.problems import CommandError, for_settings
from nni_wcnas.settings.schema import Settings
from nni_wcnas.settings.settings import load_settings

__all__ = ['measure_tester']

_BATCH = 250
"""Number of images that a generator makes at once."""
_PREFIX = 'training_module.tester.'
"""Prefix of the tester's tensors in the checkpoint of a search."""
_LABELS = {
    'fid': 'FID', 'kid': 'KID', 'precision': 'precision', 'recall': 'recall', 'inception_score': 'inception score',
    'label_error': 'not seen as their class', 'label_error_worst': 'the same, worst class',
}
"""Names of the measures that the table shows."""


def measure_tester(path: str | Path, *, count: int = 5000, inception: str | None = None, seed: int = 0,
                   cpu: bool = False) -> dict[str, float]:
    """Measure the images of a search's tester, write measures and report, and print a table.

    Parameters
    ----------
    path
        Run directory of a search, or of a trial.
    count
        Number of images to generate, and of real ones at most, of all classes alike. A tester that changes real images
        changes as many as there are.
    inception
        Local file of Inception-v3's weights; None takes the reference nets of the data set.
    seed
        Seed of the noise, labels and draws that the images are made from.

    Returns
    -------
    dict
        Measures by name.
    cpu
        Whether to use no GPU.

    Raises
    ------
    CommandError
        When the run has no tester or no checkpoint, or something that was given does not fit.
    """
    if count < 2:
        raise CommandError(f'--count is {count}; give at least 2 images, better thousands')
    run = RunDirectory(path)
    settings = _settings(run, cpu)
    try:
        data = assembly.make_data(settings)
        check_identity(run.path, identify(data))
        tester = _tester(run, settings, data)
        extractor = _extractor(inception, settings, data)
        # Of the architecture's half, as the tester learned from the other one; rounded up to as many of each class.
        images, labels = _images(tester, count, data, seed)
        real = clean_images(data.examples('architecture', -(-count // data.num_classes)))
        # On the CPU, where thousands of images have room; the extractor takes a batch at a time to its own device.
        measures = measure_images(images.cpu(), labels.cpu(), real.cpu(), extractor, seed=seed)
    except ValueError as error:
        raise CommandError(for_settings(error)) from error
    run.write_generated_measures(extractor.name, {'seed': seed, **describe(measures, extractor), **measures})
    write_report(run)
    _print(run, measures, extractor.name)
    return measures


def _settings(run: RunDirectory, cpu: bool) -> Settings:
    """Load the settings of a search, and refuse one that has no tester whose images could be made again.

    Raises
    ------
    CommandError
        When the folder holds no search, its tester makes no images of its own, or no epoch is over.
    """
    if 'method' not in run.read_settings():
        raise CommandError(f'{run.path} holds no search; give the folder of `nni-wcnas search` or of a trial')
    settings = load_settings(run.settings, ['device=cpu'] if cpu else [], build=('method', 'data'))
    if not assembly.make_strategy(settings).objective.needs_tester:
        raise CommandError(f'{run.path} is a search without a tester, which makes no images; give one of a method that '
                           'has it, such as wcnas')
    if is_without_b(settings.tester):
        raise CommandError(f'{run.path}: the tester moves images against the network of the search, and makes none '
                           'without it; give a search with another tester')
    if not run.checkpoint.exists():
        raise CommandError(f'{run.checkpoint}: there is no checkpoint, which would hold the tester; let the search run '
                           'for an epoch at least')
    return settings


def _tester(run: RunDirectory, settings: Settings, data: ImageData) -> Tester:
    """Build the search's tester, with the weights that the last epoch left in the checkpoint."""
    # Without the file of pre-training: the checkpoint replaces all that it would load.
    section = {key: value for key, value in (settings.tester or assembly.DEFAULT_TESTER).items() if key != 'pretrained'}
    tester = assembly.make_tester(settings.model_copy(update={'tester': section}), data)
    state = check_checkpoint(run.checkpoint)['state_dict']
    try:
        tester.load_state_dict({key.removeprefix(_PREFIX): value for key, value in state.items()
                                if key.startswith(_PREFIX)})
    except (RuntimeError, AttributeError, TypeError) as error:
        raise CommandError(f'{run.checkpoint} holds another tester than {run.settings} describes; put back the files '
                           'that belong together') from error
    return tester.to(assembly.device(settings))


def _extractor(inception: str | None, settings: Settings, data: ImageData) -> Extractor:
    """Return the feature extractor: Inception-v3 from a file, or the data set's own reference nets."""
    if inception is not None:
        return inception_extractor(inception, assembly.device(settings))
    return reference_extractor(reference_models(data, progress=sys.stderr.isatty()))


@torch.no_grad()
def _images(tester: Tester, count: int, data: ImageData, seed: int) -> tuple[Tensor, Tensor]:
    """Make images of the tester, in [-1, 1], shape ``(N, 3, H, W)``, and their labels, shape ``(N,)``."""
    with assembly.untouched_random_state():
        torch.manual_seed(seed)
        # A policy changes real images, of the half that it learned from.
        if not isinstance(tester, GenerativeTester):
            return sample(tester, count, data.examples('weights', -(-count // data.num_classes)))
        # In batches, as a generator's activations for thousands of images would not fit into memory.
        parts = [sample(tester, len(part), None) for part in torch.arange(count).split(_BATCH)]
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])


def _print(run: RunDirectory, measures: Mapping[str, float], extractor: str) -> None:
    """Print a table of the measures, and what its numbers depend on."""
    table = Table('generated images', '', title=str(run.path))
    for key, label in _LABELS.items():
        if key in measures:
            is_share = key in ('precision', 'recall') or key.startswith('label_error')
            table.add_row(label, f'{measures[key]:.2%}' if is_share else f'{measures[key]:.4g}')
    console = Console()
    console.print(table)
    counts = [f'{int(measures[key]):,}' for key in ('generated_images', 'real_images', 'image_features')]
    console.print(
        f'{counts[0]} generated and {counts[1]} real images, {counts[2]} features of {extractor}; what differs in one '
        f'of these does not compare\nwritten: {run.generated_measures}', soft_wrap=True, highlight=False,
    )
