"""Networks that describe images by features, so that sets of images can be compared: always named, never downloaded.

Three kinds: the reference nets of the data set, any module of the caller's, and Inception-v3 from a file. Numbers made
with two of them do not compare, so the name is part of every record.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import inception_v3

from nni_wcnas.data.reference import Reference
from nni_wcnas.functional.evaluation_mode import evaluation_mode
from nni_wcnas.functional.image_range import signed_to_bytes
from nni_wcnas.tensor_file import TensorFileError, read_tensors

__all__ = ['Extractor', 'inception_extractor', 'module_extractor', 'reference_extractor']

_BATCH = 100
_INCEPTION_SIDE = 299


@dataclass(frozen=True)
class Extractor:
    """A named pair of functions that describe images by features and by probabilities of classes.

    Parameters
    ----------
    name
        What the record calls the extractor; the same name must mean the same numbers.
    features
        Maps images in [-1, 1], shape ``(N, 3, H, W)``, on any device, to features ``(N, F)``.
    probabilities
        Maps the same images to probabilities of classes ``(N, C)``; None if the extractor is no classifier.
    knows_labels
        Whether those classes are the data set's own, so that labels can be checked.
    """

    name: str
    features: Callable[[Tensor], Tensor]
    probabilities: Callable[[Tensor], Tensor] | None = None
    knows_labels: bool = False


def reference_extractor(reference: Reference) -> Extractor:
    """Take the features of the first reference net and the probabilities of all; see :class:`.Reference`."""
    return Extractor(reference.name, reference.features, reference.probabilities, knows_labels=True)


def module_extractor(
    module: nn.Module, name: str, *, classifier: nn.Module | None = None, knows_labels: bool = False
) -> Extractor:
    """Take the features that any module gives in evaluation mode; it stays in its own mode, on its own device.

    Parameters
    ----------
    module
        Maps images in [-1, 1], shape ``(N, 3, H, W)``, to features ``(N, F)``.
    name
        What the record calls the extractor.
    classifier
        Maps the same images to logits ``(N, C)``; None leaves out what needs probabilities.
    knows_labels
        Whether the classifier's classes are the data set's own.

    Raises
    ------
    ValueError
        If the name is empty, or labels are known without a classifier; when used, if the features are not of shape
        ``(N, F)``.
    """
    if not name:
        raise ValueError('name is empty: name the extractor, as numbers of two extractors do not compare')
    if knows_labels and classifier is None:
        raise ValueError('knows_labels is True, but there is no classifier: give one')
    probabilities = None if classifier is None else lambda images: _batched(classifier, images).softmax(1)
    return Extractor(name, lambda images: _batched(module, images), probabilities, knows_labels)


def inception_extractor(path: str | Path, device: torch.device | str = 'cpu') -> Extractor:
    """Load Inception-v3, which gives 2048 features, from a local file.

    Parameters
    ----------
    path
        Either a state dict of ``torchvision.models.inception_v3``, or a TorchScript file that maps pixels (0 to 255,
        uint8) to probabilities and, with ``return_features=True``, to features, as ``inception-2015-12-05.pt``, with
        which most published distances were computed. Load any other TorchScript yourself, and use
        :func:`module_extractor`.
    device
        Device that the network is computed on.

    Raises
    ------
    ValueError
        If the file is missing, damaged, or neither of the two.
    """
    path = Path(path)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise ValueError(
            f'The Inception weights {path} cannot be read ({error.strerror}): give the path of a file'
        ) from error
    # The digest tells files of one name apart, so that equal names mean equal numbers.
    name = f'{path.name} sha256:{digest}'
    return _from_script(path, name, device) if _is_script(path) else _from_state_dict(path, name, device)


def _is_script(path: Path) -> bool:
    """Tell whether a file holds TorchScript, which has constants beside its tensors."""
    try:
        # torch writes both kinds as zip archives. State dicts of old versions are no archives at all.
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith('/constants.pkl') for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _from_script(path: Path, name: str, device: torch.device | str) -> Extractor:
    """Load TorchScript that takes bytes and, for features, ``return_features=True``, as NVIDIA's detectors do."""
    try:
        script = torch.jit.load(path, map_location=device).eval()
    except RuntimeError as error:
        raise ValueError(f'The TorchScript file {path} is damaged: give another file') from error
    # Other scripts may normalise or resize differently; guessing would give wrong numbers silently.
    if 'return_features' not in [argument.name for argument in script.forward.schema.arguments]:
        raise ValueError(
            f'The TorchScript file {path} has no argument return_features: load it with torch.jit.load, and pass the '
            'module to module_extractor'
        )
    described = _Called(script, return_features=True)
    return Extractor(name, lambda images: _batched(described, images), lambda images: _batched(_Called(script), images))


class _Called(nn.Module):
    """A module that converts images in [-1, 1] to bytes and calls a script with them."""

    def __init__(self, script: nn.Module, **arguments: Any) -> None:
        super().__init__()
        self.script = script
        self.arguments = arguments

    def forward(self, images: Tensor) -> Tensor:
        return self.script(signed_to_bytes(images), **self.arguments)


def _from_state_dict(path: Path, name: str, device: torch.device | str) -> Extractor:
    """Load the weights of torchvision's network; the features are the inputs of its last layer, shape ``(N, 2048)``."""
    try:
        state = read_tensors(path, 'give a state dict of torchvision.models.inception_v3, or TorchScript')
        # load_state_dict is strict, so the network is built with as many classes and heads as the file has. Images come
        # in [-1, 1], so torchvision's own change of their range stays off.
        has_auxiliary = any(key.startswith('AuxLogits.') for key in state)
        network = inception_v3(
            num_classes=len(state['fc.weight']), aux_logits=has_auxiliary, init_weights=False, transform_input=False
        )
        network.load_state_dict(state)
    except TensorFileError as error:
        raise ValueError(str(error)) from error
    except (RuntimeError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f'{path} is no state dict of torchvision.models.inception_v3: give such a file, or TorchScript'
        ) from error
    # The last layer is taken out: without it the network ends in the features, and with it behind them it is the
    # classifier.
    classifier, network.fc = network.fc, nn.Identity()
    described = nn.Sequential(_Resized(), network).to(device).eval().requires_grad_(False)
    return module_extractor(described, name, classifier=nn.Sequential(described, classifier.to(device)))


class _Resized(nn.Module):
    """A module that resizes images to the side that Inception was trained on; their range [-1, 1] is its range."""

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(images, (_INCEPTION_SIDE, _INCEPTION_SIDE), mode='bilinear', antialias=True)


@torch.no_grad()
def _batched(module: nn.Module, images: Tensor) -> Tensor:
    """Apply a module to images, some at a time, in evaluation mode and on its own device; shape ``(N, F)``."""
    # A module without parameters and buffers is computed where the images are.
    like = next((tensor for tensor in (*module.parameters(), *module.buffers())), images)
    with evaluation_mode(module):
        found = torch.cat([module(part.to(like.device)) for part in images.split(_BATCH)])
    if found.dim() != 2:
        raise ValueError(
            f'An extractor gives features of shape {tuple(found.shape)}, not (N, F): pool or flatten them in it'
        )
    return found
