"""A found architecture as a plain module, with or without weights, and as an ONNX file.

Needs neither NNI nor Lightning.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from nni_wcnas.atomic import write_atomically
from nni_wcnas.files.checkpoint import CheckpointError, check_checkpoint
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.network.cell_network import CellNetwork
from nni_wcnas.spaces import published
from nni_wcnas.spaces.architecture import Architecture, ArchitectureError, load_architecture
from nni_wcnas.spaces.sample_check import listed, nearest

__all__ = ['build', 'export_onnx', 'find_architecture', 'trained']

_OPSET = 17


def find_architecture(source: str | os.PathLike[str]) -> Architecture:
    """Load a pair of cells.

    Parameters
    ----------
    source
        Its file, the run folder that holds it, or the name of a published cell.

    Raises
    ------
    ArchitectureError
        If there is none, its file is damaged, or its space has no cells to stack.
    """
    path = Path(source)
    if str(path) in published.names() and not path.exists():
        return published.load(str(path))
    if not path.exists() and path.name == str(source) and not path.suffix:
        raise ArchitectureError(
            f'{source} is no file, no run folder and no published cell: did you mean '
            f'{nearest(path.name, published.names())!r}, or another of {listed(published.names())}?'
        )
    architecture = load_architecture(path / 'architecture.json' if path.is_dir() else path)
    if not architecture.is_cell:
        raise ArchitectureError(
            f'{path} is of the space {architecture.space}, which has no normal and reduction cell to stack; freeze the '
            'space with its sample instead'
        )
    return architecture


def build(architecture: Architecture | str | os.PathLike[str], channels: int = 36, cells: int = 20,
          num_classes: int = 10, *, auxiliary_tower: bool = False, drop_path: float = 0.0) -> CellNetwork:
    """Make a network with new weights.

    Parameters
    ----------
    architecture
        An architecture, or where :func:`find_architecture` finds it.
    channels, cells, num_classes, auxiliary_tower, drop_path
        As in :class:`nni_wcnas.network.cell_network.CellNetwork`.

    Raises
    ------
    ValueError
        If there is no such architecture, it has no cells, or a number is out of range.
    """
    found = architecture if isinstance(architecture, Architecture) else find_architecture(architecture)
    return CellNetwork(found, channels, cells, num_classes, auxiliary_tower, drop_path)


def trained(run: str | os.PathLike[str]) -> CellNetwork:
    """Load the network of a retraining, in evaluation mode and without auxiliary tower.

    Parameters
    ----------
    run
        Its run folder.

    Raises
    ------
    ValueError
        If a file of the run is missing or damaged, or the checkpoint is of another architecture.
    """
    folder = RunDirectory(run)
    content = check_checkpoint(folder.checkpoint, kind='retrain')['network']
    weights = content if isinstance(content, dict) else {}
    kept = {name: weight for name, weight in weights.items() if not str(name).startswith('auxiliary.')}
    classifier = kept.get('classifier.weight')
    if not isinstance(classifier, Tensor):
        raise CheckpointError(f'{folder.checkpoint} holds no network of cells; retrain into another folder')
    channels, cells = _size(folder)
    network = build(find_architecture(folder.architecture), channels, cells, len(classifier))
    try:
        network.load_state_dict(kept)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f'{folder.checkpoint}: holds the weights of another architecture than {folder.architecture} with '
            f'{channels} channels and {cells} cells; put back the files that belong together, or retrain into another '
            'folder'
        ) from error
    return network.eval()


def _size(run: RunDirectory) -> tuple[int, int]:
    """Channels and cells of a retraining."""
    recipe = run.read_settings().get('retrain')
    numbers = []
    for key in ('channels', 'cells'):
        number = recipe.get(key) if isinstance(recipe, dict) else None
        if type(number) is not int:
            raise CheckpointError(f'{run.settings} has no number {key} under `retrain`; restore the file, or retrain '
                                  'into another folder')
        numbers.append(number)
    return numbers[0], numbers[1]


def export_onnx(network: nn.Module, path: str | os.PathLike[str], image_size: int = 32) -> Path:
    """Write a network as an ONNX file, whole or not at all; batch size is free.

    Parameters
    ----------
    network
        Maps images to logits; exported in evaluation mode, its own mode stays.
    path
        The file. Its input is ``images``, shape ``(N, 3, image_size, image_size)``, its output ``logits``.
    image_size
        Side of the images, in pixels.

    Raises
    ------
    ValueError
        If the package onnx is missing.
    """
    if find_spec('onnx') is None:
        raise ValueError('ONNX export needs the package onnx, which is missing: pip install "nni-wcnas[onnx]"')
    device, training = next(network.parameters()).device, network.training
    images = torch.zeros(2, 3, image_size, image_size, device=device)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)  # torch's newer exporter needs onnxscript.
        file = Path(folder) / 'network.onnx'
        try:
            torch.onnx.export(network.eval(), (images,), str(file), input_names=['images'], output_names=['logits'],
                              dynamic_axes={'images': {0: 'batch'}, 'logits': {0: 'batch'}}, opset_version=_OPSET,
                              dynamo=False)
        finally:
            network.train(training)
        write_atomically(path, file.read_bytes())
    return Path(path)
