"""Small fixed classifiers that no search ever sees: they recognise hard examples and unrecognisable images.

Pseudo-code::

    cut the training examples into folds 0 and 1 (alternating within each class)
    for each of three widths, for each fold: train a plain convolutional net on the *other* fold
    difficulty of a training example = mean cross-entropy of its class over the three nets that did not train on it
    difficulty of a test example     = the same over all six (for reports only: never choose anything with it)

They are trained once for each data set, on the CPU, and cached with the settings. A lock guards the cache, so that
parallel trials share one set of scores. The result depends on the number of threads only through rounding.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from nni_wcnas.functional.image_range import bytes_to_signed
from nni_wcnas.tensor_file import TensorFileError, read_tensors, write_tensors

from .augmentation import Augmentation
from .cache import cache_folder
from .error import DataArgumentError, DataError
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
"""Version of the scores, a part of the cache's key: raise it with every change that changes the scores."""

MAX_BYTES = 2**31
"""Most bytes of images to hold in memory; a larger set is decoded again in every epoch."""


@dataclass(frozen=True)
class Reference:
    """The reference classifiers of a data set, and the difficulty of each example; higher is harder."""

    train_scores: Tensor
    """Mean cross-entropy of the true class in nats, shape ``(N_train,)``; NaN where ``limit`` left an example out."""
    test_scores: Tensor
    """The same for the test set, shape ``(N_test,)``: for reports only."""
    models: nn.ModuleList
    """The nets in evaluation mode; each maps images in [-1, 1] of shape ``(N, 3, H, W)`` to logits ``(N, C)``."""
    name: str = ''
    """Name of the cached file, without its suffix: equal names mean equal nets."""

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Average the nets' probabilities of the classes.

        Parameters
        ----------
        images
            In [-1, 1], shape ``(N, 3, H, W)``, on any device; the nets follow.

        Returns
        -------
        Tensor
            Mean probabilities, shape ``(N, C)``.
        """
        self.models.to(images.device)
        chunks = [
            # (nets, n, C) -> (n, C).
            torch.stack([model(chunk).softmax(1) for model in self.models]).mean(0) for chunk in images.split(1024)
        ]
        return torch.cat(chunks)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Describe images by what the first, narrowest net sees last, averaged over the image.

        One net is used, so that there are few features beside the number of images: 48 for images of 16 pixels, 96 for
        those of 32.

        Parameters
        ----------
        images
            In [-1, 1], shape ``(N, 3, H, W)``, on any device; the net follows.

        Returns
        -------
        Tensor
            Features, shape ``(N, F)``.
        """
        layers = list(self.models[0].to(images.device).children())
        trunk = nn.Sequential(*layers[:-3])  # Without pooling to 2 x 2, flattening and the classifier.
        # (n, F, h, w) -> (n, F).
        return torch.cat([trunk(chunk).mean((2, 3)) for chunk in images.split(1024)])

    def error(self, images: Tensor, labels: Tensor) -> float:
        """Return the share of the images that the nets together do not give their labels.

        Parameters
        ----------
        images
            In [-1, 1], shape ``(N, 3, H, W)``.
        labels
            Classes that the images should show, shape ``(N,)``.

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
        Folder to keep the result in; by default that of the environment variable ``NNI_WCNAS_CACHE``, else
        ``~/.cache/nni_wcnas``.
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
        raise DataArgumentError(
            'epochs', epochs, 'leave it out for a value that fits the data set', reason='must be at least 1'
        )
    chosen = data.train_indices
    # 250 000 images over both folds, where this gives from 4 to 15 epochs.
    epochs = epochs or min(15, max(4, 250_000 // len(chosen)))
    folder = cache_folder(cache_dir)
    path = folder / f'reference-{data.name}-{_identity(data, epochs)}.pt'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The first trial trains while the others wait, then find the file.
        with FileLock(f'{path}.lock'):
            if not path.exists():
                write_tensors(path, _train_all(data, epochs, progress))
    except OSError as error:
        raise DataError(
            f'The cache folder {folder} cannot be used ({error.strerror}); pass another cache_dir '
            f'or set NNI_WCNAS_CACHE.'
        ) from error
    # From the file even if just trained, so that no caller can see anything else.
    return _load(path, data)


def _identity(data: ImageData, epochs: int) -> str:
    """Hash everything that the scores depend on; the first 16 hexadecimal digits."""
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


def _load(path: Path, data: ImageData) -> Reference:
    """Load the nets and scores of a file that :func:`_train_all` filled, with frozen parameters."""
    remedy = 'delete the file to have the reference models trained again.'
    try:
        state = read_tensors(path, remedy)
        # Two nets of each width, one a fold, in the order of training; their weights are overwritten.
        models = nn.ModuleList(_build(width, data, seed=0) for width in WIDTHS for _ in (0, 1))
        models.load_state_dict(state['models'])
        return Reference(state['train_scores'], state['test_scores'], models.eval().requires_grad_(False), path.stem)
    except TensorFileError as error:
        raise DataError(str(error)) from error
    except (TypeError, RuntimeError, KeyError) as error:  # A file of tensors, but of others.
        raise DataError(f'{path} holds no reference models of these data; {remedy}') from error


def _train_all(data: ImageData, epochs: int, progress: bool) -> dict[str, Any]:
    """Train the nets and score all examples with two-fold cross-fitting; the module's docstring has the steps."""
    chosen = data.train_indices
    labels = data.images.train.labels[chosen]
    # (M,), 0 or 1: alternating within each class, so that both folds have the same classes.
    fold = rank_in_class(labels) % 2
    if (labels.bincount() == 1).any():
        name = data.class_names[int((labels.bincount() == 1).nonzero()[0])]
        raise DataError(f'The class {name} has a single training example, but scoring needs two; add examples.')
    train, test = _in_memory(data.images.train), _in_memory(data.images.test)
    # NaN marks what the limit leaves out; hardest() refuses it.
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
                # The net saw only the other fold: no example is scored by a net that learned it.
                train_scores[chosen[fold == held_out]] += _losses(model, train, chosen[fold == held_out]) / len(WIDTHS)
                # No net saw a test example, so all six count.
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
        # Side after the strided layer, which halves it.
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
        # Any side to 2 x 2, hence 4 channels' worth of inputs. Reference.features takes off these last three layers.
        layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, data.num_classes)]
        return nn.Sequential(*layers)


def _epochs(
    model: nn.Module, store: ImageStore, indices: Tensor, mirror: bool, epochs: int, width: int
) -> Iterator[int]:
    """Train a net on some examples of a store; yield the number of each epoch after it."""
    # Rounded up, so that no part below has more than BATCH_SIZE examples.
    steps = -(-len(indices) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
    # The rate rises for the first fifth of the steps and then falls to nearly 0.
    # One step more than is taken where there would be 5: their first fifth is a single step, by whose length less one
    # torch would divide.
    total = epochs * steps + (epochs * steps == 5)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=total, pct_start=0.2)
    for epoch in range(epochs):
        model.train()
        order = indices[torch.randperm(len(indices), generator=derive_generator('reference', width, epoch))]
        # Parts of nearly equal size: batch normalisation must never meet a single example.
        for step, part in enumerate(order.tensor_split(steps)):
            seed = derive_seed('reference', width, epoch, step)
            pixels = store.read(part)
            # Shifted by up to an eighth of the side and mirrored where that keeps the class, as in the search.
            pixels = Augmentation(pixels.shape[-1] // 8, mirror).pixels(pixels, seed)
            loss = F.cross_entropy(model(_scale(pixels)), store.labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        yield epoch


@torch.no_grad()
def _losses(model: nn.Module, store: ImageStore, indices: Tensor) -> Tensor:
    """Compute the cross-entropy of the true class of each example, in nats, shape ``(len(indices),)``."""
    model.eval()
    return torch.cat(
        [
            F.cross_entropy(model(_scale(store.read(part))), store.labels[part], reduction='none')
            for part in indices.split(1024)
        ]
    )


def _scale(pixels: Tensor) -> Tensor:
    """Map bytes to [-1, 1], in the channels-last layout, in which convolutions on a CPU are fast."""
    return bytes_to_signed(pixels).contiguous(memory_format=torch.channels_last)


def _in_memory(store: ImageStore) -> ImageStore:
    """Return a store whose images are decoded once and held in memory, if they fit; else the store itself."""
    # The first image tells the bytes of each: all have one size.
    if isinstance(store, TensorStore) or store.read(torch.tensor([0])).numel() * len(store) > MAX_BYTES:
        return store
    return TensorStore(store.read(torch.arange(len(store))), store.labels)
