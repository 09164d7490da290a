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
from nni_wcnas.nearest_name import nearest_name
from nni_wcnas.network.cell_network import CellNetwork
from nni_wcnas.spaces import published
from nni_wcnas.spaces.architecture import Architecture, ArchitectureError, load_architecture
from nni_wcnas.spaces.sample_check import listed

__all__ = ['build', 'export_onnx', 'find_architecture', 'trained']

_OPSET = 17
"""Version of the ONNX operator set that is written; fixed, so that the same network gives the same graph."""


def find_architecture(source: str | os.PathLike[str]) -> Architecture:
    """Load an architecture that consists of a normal and a reduction cell.

    Parameters
    ----------
    source
        The architecture's file, the run folder that holds that file, or the name of a published cell.

    Raises
    ------
    ArchitectureError
        If nothing is found, the file is damaged, or the architecture's space has no cells to stack.
    """
    path = Path(source)
    # A file or folder of that name goes first, so that a published name never hides a run of the user's.
    if str(path) in published.names() and not path.exists():
        return published.load(str(path))
    # A bare word is taken for a misspelt published name; anything with a folder or a suffix is a missing file, which
    # `load_architecture` below reports.
    if not path.exists() and path.name == str(source) and not path.suffix:
        raise ArchitectureError(
            f'{source} is no file, no run folder and no published cell: did you mean '
            f'{nearest_name(path.name, published.names())!r}, or another of {listed(published.names())}?'
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
    """Make a network with new weights, drawn from torch's global random state.

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
    """Load the trained network of a retraining, in evaluation mode and without its auxiliary tower.

    Parameters
    ----------
    run
        The run folder of the retraining.

    Raises
    ------
    ValueError
        If a file of the run is missing or damaged, or the checkpoint is of another architecture.
    """
    folder = RunDirectory(run)
    content = check_checkpoint(folder.checkpoint, kind='retrain')['network']
    weights = content if isinstance(content, dict) else {}
    # The tower helps in training only, and its weights would not fit a network that is built without it.
    kept = {name: weight for name, weight in weights.items() if not str(name).startswith('auxiliary.')}
    # Shape (num_classes, features). Only networks of cells have this name; a frozen NNI space, say, has not.
    classifier = kept.get('classifier.weight')
    if not isinstance(classifier, Tensor):
        raise CheckpointError(f'{folder.checkpoint} holds no network of cells; retrain into another folder')
    channels, cells = _size(folder)
    # The number of classes is read from the weights, as no setting names it.
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
    """Return the channels and the number of cells that a retraining's settings name."""
    recipe = run.read_settings().get('retrain')
    numbers = []
    for key in ('channels', 'cells'):
        number = recipe.get(key) if isinstance(recipe, dict) else None
        # Not isinstance: True is an int to Python, but no number of cells.
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
        Maps images to logits. It is exported in evaluation mode, and is back in its own mode afterwards.
    path
        The file to write. Its input is ``images``, shape ``(N, 3, image_size, image_size)``, its output ``logits``.
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
        # The exporter that traces is deprecated; torch's newer one (dynamo=True) needs the package onnxscript as well.
        warnings.simplefilter('ignore', DeprecationWarning)
        file = Path(folder) / 'network.onnx'
        try:
            torch.onnx.export(network.eval(), (images,), str(file), input_names=['images'], output_names=['logits'],
                              dynamic_axes={'images': {0: 'batch'}, 'logits': {0: 'batch'}}, opset_version=_OPSET,
                              dynamo=False)
        finally:
            network.train(training)
        # The exporter writes to a scratch file first, so that a failure leaves no half of a file at `path`.
        write_atomically(path, file.read_bytes())
    return Path(path)
