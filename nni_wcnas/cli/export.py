"""``nni-wcnas export``: write a run's network, or an architecture with new weights, as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nni_wcnas.cli.folder import make_folder
from nni_wcnas.cli.retraining_run import data_of, find_retraining
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.network.build import build, export_onnx, trained
from nni_wcnas.settings.problems import CommandError, for_settings

__all__ = ['export']

_SIDE = 32
"""Side of the images of a network with new weights, in pixels: CIFAR's."""


def export(source: str, file: str, *, image_size: int | None, **sizes: Any) -> bool:
    """Export the trained network of a run, or an architecture with new weights; returns whether it is trained.

    Parameters
    ----------
    source, file
        What to export, and the file to write.
    image_size
        Side of the images in pixels; None for what the network was trained on, or 32 for new weights.
    sizes
        ``channels``, ``cells`` and ``num_classes`` of a network with new weights.

    Raises
    ------
    CommandError
        When the source cannot be used, the file exists, or the package onnx is missing.
    """
    if Path(file).exists():
        raise CommandError(f'{file} exists already; name another file')
    # Two reductions quarter the side, behind a stem that may cut it to an eighth.
    if image_size is not None and image_size < 8:
        raise CommandError(f'--image-size is {image_size}; give at least 8')
    run = RunDirectory(source)
    is_trained = run.path.is_dir() and not _is_bare(run)
    if is_trained and sizes:
        option = next(iter(sizes)).replace('_', '-')
        raise CommandError(f'--{option} is of new weights, but {source} holds trained ones; leave it out')
    try:
        if is_trained:
            inner = find_retraining(run)
            network, side = trained(inner.path), image_size or _side(inner)
        else:
            # Sizes that were not given have the defaults of `build`.
            network, side = build(source, **sizes), image_size or _SIDE
        make_folder(Path(file).parent, 'name another file')
        export_onnx(network, file, side)
    except ValueError as error:
        raise CommandError(for_settings(error)) from error
    return is_trained


def _side(run: RunDirectory) -> int:
    """Return the side of the images that a network was trained on, in pixels.

    The settings need not name it; then the data set is loaded to tell.
    """
    section = run.read_settings().get('data')
    written = section.get('image_size') if isinstance(section, dict) else None
    if isinstance(written, int):
        return written
    try:
        return data_of(run).image_size
    except CommandError as error:
        raise CommandError(f'{error}, or give --image-size') from error


def _is_bare(run: RunDirectory) -> bool:
    """Tell whether a folder holds an architecture file alone; half of a retraining does not pass for that."""
    return run.architecture.exists() and not run.settings.exists() and not run.checkpoint.exists()
