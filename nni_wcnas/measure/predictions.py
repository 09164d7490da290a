"""Ask a network about each example of a part: one pass gives the predictions that all measures are computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nni_wcnas.contracts import Batch
from nni_wcnas.functional.evaluation_mode import evaluation_mode

__all__ = ['EvaluationData', 'Predictions', 'predict', 'predicting']


class EvaluationData(Protocol):
    """The interface that a measure needs of its data; :class:`nni_wcnas.data.ImageData` has it."""

    def evaluation_dataloader(self, part: Any) -> Iterable[Batch]:
        """Return the batches of a part without augmentation, in order."""


@dataclass(frozen=True)
class Predictions:
    """Logits and true classes of N examples.

    Parameters
    ----------
    logits
        The network's outputs, shape ``(N, C)``.
    labels
        True classes, shape ``(N,)``, dtype int64.
    indices
        Position of each example in its data set, shape ``(N,)``; None where the data do not say.
    """

    logits: Tensor
    labels: Tensor
    indices: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Tensor) -> Predictions:
        """Return the predictions of some of the examples, chosen by a mask ``(N,)`` or by positions."""
        indices = None if self.indices is None else self.indices[chosen]
        return Predictions(self.logits[chosen], self.labels[chosen], indices)

    @property
    def classes(self) -> Tensor:
        """Predicted class, shape ``(N,)``; of equal logits the first."""
        return self.logits.argmax(dim=1)

    @property
    def wrong(self) -> Tensor:
        """1 where the predicted class is not the true one, else 0; shape ``(N,)``, float64."""
        return (self.classes != self.labels).double()

    @property
    def losses(self) -> Tensor:
        """Cross-entropy, which is the negative log-likelihood, in nats; shape ``(N,)``, float64."""
        return F.cross_entropy(self.logits.double(), self.labels, reduction='none')

    @property
    def probabilities(self) -> Tensor:
        """Softmax of the logits, shape ``(N, C)``, float64."""
        return self.logits.double().softmax(dim=1)


@contextmanager
def predicting(network: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """Give a function from normalised images ``(N, 3, H, W)`` to logits ``(N, C)`` on the CPU.

    It runs in evaluation mode, on the network's device and in float32, or in float64 if the network has it; modes and
    precision are put back afterwards.

    Parameters
    ----------
    network
        Maps images to logits; it has at least one parameter, which tells its device and precision.
    """
    parameter = next(network.parameters())
    device, dtype = parameter.device, parameter.dtype
    precision = torch.promote_types(dtype, torch.float32)  # Rounding float64 could not be undone.
    try:
        network.to(precision)
        # Autocast of the caller is switched off, so that measures do not depend on where they are made.
        with evaluation_mode(network), torch.no_grad(), torch.autocast(device.type, enabled=False):
            # Logits go to the CPU batch by batch, so a GPU never holds those of all examples.
            yield lambda images: network(images.to(device, precision)).cpu()
    # Lower precision -> float32 -> lower precision is exact, so the weights come back bit for bit.
    finally:
        network.to(dtype)


def predict(network: nn.Module, data: EvaluationData, part: str = 'test') -> tuple[Predictions, int]:
    """Ask a network about all examples, as :func:`predicting` does; it stays as it was.

    Parameters
    ----------
    network
        Maps images to logits.
    data
        E.g. a :class:`nni_wcnas.data.ImageData`.
    part
        ``'weights'``, ``'architecture'``, ``'train'`` or ``'test'``.

    Returns
    -------
    tuple
        The predictions, on the CPU, and the side of the images in pixels.

    Raises
    ------
    ValueError
        If the part is empty.
    """
    logits, labels, indices, size = [], [], [], 0
    with predicting(network) as ask:
        for batch in data.evaluation_dataloader(part):
            size = batch.images.shape[-1]
            logits.append(ask(batch.images))
            labels.append(batch.labels.cpu())
            indices.append(batch.indices)
    if not labels:
        raise ValueError(f'part {part!r} has no examples: give another part')
    # Stock data give no positions, for any batch; ours give them for all.
    known = [index.cpu() for index in indices if index is not None]
    return Predictions(torch.cat(logits), torch.cat(labels), torch.cat(known) if known else None), size
