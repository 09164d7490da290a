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
from torch import nn

from nni_wcnas.checkpoint import CheckpointError, check_checkpoint
from nni_wcnas.evaluation.network import CellNetwork
from nni_wcnas.evaluation.recording import RunDirectory
from nni_wcnas.spaces import published
from nni_wcnas.spaces.architecture import Architecture, load_architecture, write_atomically

__all__ = ['build', 'export_onnx', 'trained']

_OPSET = 17


def build(architecture: Architecture | str | os.PathLike[str], channels: int = 36, cells: int = 20,
          num_classes: int = 10, *, auxiliary_tower: bool = False, drop_path: float = 0.0) -> CellNetwork:
    """Make a network with new weights.

    Parameters
    ----------
    architecture
        An architecture, its file, the run folder that holds it, or the name of a published cell.
    channels, cells, num_classes, auxiliary_tower, drop_path
        As in :class:`nni_wcnas.evaluation.network.CellNetwork`.

    Raises
    ------
    ValueError
        If there is no such architecture, it has no cells, or a number is out of range.
    """
    if not isinstance(architecture, Architecture):
        path = Path(architecture)
        if str(path) in published.names() and not path.exists():
            architecture = published.load(str(path))
        else:
            architecture = load_architecture(path / 'architecture.json' if path.is_dir() else path)
    return CellNetwork(architecture, channels, cells, num_classes, auxiliary_tower, drop_path)


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
    weights = check_checkpoint(folder.checkpoint, kind='retrain')['network']
    kept = {name: weight for name, weight in weights.items() if not name.startswith('auxiliary.')}
    recipe = folder.read_settings().get('retrain')
    if not isinstance(recipe, dict) or not {'channels', 'cells'} <= recipe.keys() or 'classifier.weight' not in kept:
        raise CheckpointError(f'{folder.path} holds no whole retraining; make one with `nni-wcnas retrain`')
    network = build(folder.architecture, recipe['channels'], recipe['cells'], len(kept['classifier.weight']))
    try:
        network.load_state_dict(kept)
    except RuntimeError as error:
        raise CheckpointError(f'{folder.checkpoint}: of another architecture than {folder.architecture}; '
                              'put back the one it was trained with') from error
    return network.eval()


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
