"""Small fixed classifiers that no search ever sees: they tell hard examples and unrecognisable images.

Pseudo-code::

    cut the training examples into folds 0 and 1 (alternating within each class)
    for each of three widths, for each fold: train a plain convolutional net on the *other* fold
    difficulty of a training example = mean cross-entropy of its class over the three nets that did not train on it
    difficulty of a test example     = the same over all six (for reports only: never choose anything with it)

Trained once a data set on the CPU, cached with its settings, guarded by a lock: parallel trials share one set of
scores. The result depends on the number of threads only through rounding.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from .augmentation import Augmentation
from .cache import cache_folder
from .error import DataError
from .image_data import ImageData
from .seeding import derive_generator, derive_seed
from .split import rank_in_class
from .store import ImageStore, TensorStore

__all__ = ['Reference', 'reference_models']

WIDTHS = (24, 32, 40)
"""Channels of the first layer of each net."""

BATCH_SIZE = 128

LEARNING_RATE = 0.01

VERSION = 1
"""Raise it with every change that changes the scores."""

MAX_BYTES = 2**31
"""Images that need more memory than this are decoded again in every epoch."""


@dataclass(frozen=True)
class Reference:
    """Reference classifiers and the difficulty of each example; higher is harder."""

    train_scores: Tensor
    """Mean cross-entropy of the true class in nats, shape ``(N_train,)``; NaN where ``limit`` left an example out."""
    test_scores: Tensor
    """The same for the test set, shape ``(N_test,)``: for reports only."""
    models: nn.ModuleList
    """The nets in evaluation mode; images in [-1, 1] of shape ``(N, 3, H, W)`` to logits ``(N, C)``."""
    name: str = ''
    """Of the cached file: the same name, the same nets."""

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Average the nets' probabilities.

        Parameters
        ----------
        images
            In [-1, 1], shape ``(N, 3, H, W)``, on any device; the nets follow.

        Returns
        -------
        Tensor
            Shape ``(N, C)``.
        """
        self.models.to(images.device)
        chunks = [
            torch.stack([model(chunk).softmax(1) for model in self.models]).mean(0) for chunk in images.split(1024)
        ]
        return torch.cat(chunks)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Describe images by what the first, narrowest net sees last, averaged over the image.

        One net, so that there are few features beside the number of images: 48 for images of 16 pixels, else 96.

        Parameters
        ----------
        images
            In [-1, 1], shape ``(N, 3, H, W)``, on any device; the net follows.

        Returns
        -------
        Tensor
            Shape ``(N, F)``.
        """
        layers = list(self.models[0].to(images.device).children())
        trunk = nn.Sequential(*layers[:-3])  # Without pooling to 2 x 2, flattening and the classifier.
        return torch.cat([trunk(chunk).mean((2, 3)) for chunk in images.split(1024)])

    def error(self, images: Tensor, labels: Tensor) -> float:
        """Share of the images ``(N, 3, H, W)`` in [-1, 1] that the ensemble does not give their ``labels`` ``(N,)``.

        Raises
        ------
        DataError
            If there are no images, or not as many labels.
        """
        if not len(images) or len(images) != len(labels):
            raise DataError(
                f'There are {len(images)} images and {len(labels)} labels; pass one label for each image, at least one.'
            )
        return (self.probabilities(images).argmax(1) != labels.to(images.device)).double().mean().item()


def reference_models(
    data: ImageData, cache_dir: str | Path | None = None, epochs: int | None = None, progress: bool = True
) -> Reference:
    """Train the reference classifiers of a data set, or load them from the cache.

    Parameters
    ----------
    data
        The data set; its ``limit`` limits what the classifiers see, all else (seed, batch size, ...) has no effect.
    cache_dir
        Where to keep the result; by default the environment variable ``NNI_WCNAS_CACHE``, else ``~/.cache/nni_wcnas``.
    epochs
        How long to train each net, at least 1; by default 5 for 25 000 images a fold, up to 15 for fewer.
    progress
        Whether to show a progress bar.

    Returns
    -------
    Reference
        The same for every caller; torch's global random state is left as it was.

    Raises
    ------
    DataError
        If ``epochs`` is not positive, a class has a single example, or the cache cannot be used.
    """
    if epochs is not None and epochs < 1:
        raise DataError(f'epochs={epochs} must be at least 1; leave it out for a value that fits the data set.')
    chosen = data.train_indices
    epochs = epochs or min(15, max(4, 250_000 // len(chosen)))
    folder = cache_folder(cache_dir)
    path = folder / f'reference-{data.name}-{_identity(data, epochs)}.pt'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f'{path}.lock'):
            if not path.exists():
                _write(path, _train_all(data, epochs, progress))
    except OSError as error:
        raise DataError(
            f'The cache folder {folder} cannot be used ({error.strerror}); pass another cache_dir '
            f'or set NNI_WCNAS_CACHE.'
        ) from error
    # From the file even if just trained, so that no caller can see anything else.
    return _load(path, data)


def _identity(data: ImageData, epochs: int) -> str:
    """Hash everything that the scores depend on."""
    settings = {
        'train': data.images.train.fingerprint(),
        'test': data.images.test.fingerprint(),
        'epochs': epochs,
        'chosen': hashlib.sha256(data.train_indices.numpy().data).hexdigest(),
        'flip': data.images.flip,
        'widths': WIDTHS,
        'batch_size': BATCH_SIZE,
        'learning_rate': LEARNING_RATE,
        'version': VERSION,
        'classes': data.num_classes,
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _write(path: Path, state: dict[str, Any]) -> None:
    """Write a file that is either whole or not there."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'{path.name}.')
    try:
        with os.fdopen(handle, 'wb') as file:
            torch.save(state, file)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _load(path: Path, data: ImageData) -> Reference:
    """Rebuild what :func:`_train_all` returned."""
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
        models = nn.ModuleList(_build(width, data, seed=0) for width in WIDTHS for _ in (0, 1))
        models.load_state_dict(state['models'])
        return Reference(state['train_scores'], state['test_scores'], models.eval().requires_grad_(False), path.stem)
    except (OSError, EOFError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        raise DataError(
            f'The cached reference models {path} cannot be read; delete the file to have them trained again.'
        ) from error


def _train_all(data: ImageData, epochs: int, progress: bool) -> dict[str, Any]:
    """Train and score with two-fold cross-fitting."""
    chosen = data.train_indices
    labels = data.images.train.labels[chosen]
    fold = rank_in_class(labels) % 2
    if (labels.bincount() == 1).any():
        name = data.class_names[int((labels.bincount() == 1).nonzero()[0])]
        raise DataError(f'The class {name} has a single training example, but scoring needs two; add examples.')
    train, test = _in_memory(data.images.train), _in_memory(data.images.test)
    train_scores = torch.full((len(train),), float('nan'))
    train_scores[chosen] = 0
    test_scores = torch.zeros(len(test))
    models = nn.ModuleList()
    with tqdm(
        total=len(WIDTHS) * 2 * epochs, desc=f'reference models of {data.name}', unit='epoch', disable=not progress
    ) as bar:
        for width in WIDTHS:
            for held_out in (0, 1):
                model = _build(width, data, derive_seed('reference', width, held_out))
                for _ in _epochs(model, train, chosen[fold != held_out], data.images.flip, epochs, width):
                    bar.update()
                train_scores[chosen[fold == held_out]] += _losses(model, train, chosen[fold == held_out]) / len(WIDTHS)
                test_scores += _losses(model, test, data.test_indices) / (2 * len(WIDTHS))
                models.append(model)
    return {'train_scores': train_scores, 'test_scores': test_scores, 'models': models.state_dict()}


def _build(width: int, data: ImageData, seed: int) -> nn.Sequential:
    """Build a plain net: a strided layer, then wider ones (up to four times) at half the side, down to a side of 4."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would reseed the accelerators as well.
        torch.default_generator.manual_seed(seed)
        layers: list[nn.Module] = [
            nn.Conv2d(3, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        side, channels = data.image_size // 2, width
        while side > 4:
            grown = min(2 * channels, 4 * width)
            layers += [
                nn.MaxPool2d(2),
                nn.Conv2d(channels, grown, 3, padding=1, bias=False),
                nn.BatchNorm2d(grown),
                nn.ReLU(),
            ]
            side, channels = side // 2, grown
        layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, data.num_classes)]
        return nn.Sequential(*layers)


def _epochs(
    model: nn.Module, store: ImageStore, indices: Tensor, mirror: bool, epochs: int, width: int
) -> Iterator[int]:
    """Train a net, an epoch at a time."""
    steps = -(-len(indices) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=max(2, epochs * steps), pct_start=0.2
    )
    for epoch in range(epochs):
        model.train()
        order = indices[torch.randperm(len(indices), generator=derive_generator('reference', width, epoch))]
        # Parts of nearly equal size: batch normalisation must never meet a single example.
        for step, part in enumerate(order.tensor_split(steps)):
            seed = derive_seed('reference', width, epoch, step)
            pixels = store.read(part)
            pixels = Augmentation(pixels.shape[-1] // 8, mirror).pixels(pixels, seed)
            loss = F.cross_entropy(model(_scale(pixels)), store.labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        yield epoch


@torch.no_grad()
def _losses(model: nn.Module, store: ImageStore, indices: Tensor) -> Tensor:
    """Cross-entropy of the true class of each example, shape ``(len(indices),)``."""
    model.eval()
    return torch.cat(
        [
            F.cross_entropy(model(_scale(store.read(part))), store.labels[part], reduction='none')
            for part in indices.split(1024)
        ]
    )


def _scale(pixels: Tensor) -> Tensor:
    """Map bytes to [-1, 1], laid out as convolutions on a CPU like it."""
    return pixels.float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


def _in_memory(store: ImageStore) -> ImageStore:
    """Decode files once if they fit."""
    if isinstance(store, TensorStore) or store.read(torch.tensor([0])).numel() * len(store) > MAX_BYTES:
        return store
    return TensorStore(store.read(torch.arange(len(store))), store.labels)
