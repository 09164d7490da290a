"""From a run or an architecture to an ONNX file."""

from __future__ import annotations

from pathlib import Path

from nni_wcnas.cli.problems import CommandError, for_settings
from nni_wcnas.evaluation.plain import build, export_onnx, trained

__all__ = ['export']


def export(source: str, file: str, *, image_size: int, channels: int, cells: int, num_classes: int) -> bool:
    """Export the trained network of a run, or an architecture with new weights; returns whether it is trained.

    Raises
    ------
    CommandError
        When the source cannot be used, the file exists, or the package onnx is missing.
    """
    if Path(file).exists():
        raise CommandError(f'{file} exists already; name another file')
    if image_size < 8:
        raise CommandError(f'--image-size is {image_size}; give at least 8')
    is_trained = (Path(source) / 'checkpoints' / 'last.ckpt').exists()
    try:
        export_onnx(trained(source) if is_trained else build(source, channels, cells, num_classes), file, image_size)
    except ValueError as error:
        raise CommandError(for_settings(error)) from error
    return is_trained
