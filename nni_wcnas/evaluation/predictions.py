"""What a network says about each example of a part: the one pass that all measures are read from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nni_wcnas.contracts import Batch

__all__ = ['EvaluationData', 'Predictions', 'predict']


class EvaluationData(Protocol):
    """What a measure asks of its data."""

    def evaluation_dataloader(self, part: Any) -> Iterable[Batch]:
        """Batches without augmentation, in order."""


@dataclass(frozen=True)
class Predictions:
    """Logits and true classes of N examples.

    Parameters
    ----------
    logits
        Shape ``(N, C)``.
    labels
        Shape ``(N,)``, dtype int64.
    indices
        Position of each example in its data set, shape ``(N,)``; None where the data do not say.
    """

    logits: Tensor
    labels: Tensor
    indices: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Tensor) -> Predictions:
        """Some of the examples, by a mask or positions."""
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


def predict(network: nn.Module, data: EvaluationData, part: str = 'test') -> tuple[Predictions, int]:
    """Ask a network about all examples, in evaluation mode and float32; it stays as it was.

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
    parameter = next(network.parameters())
    device, dtype, training = parameter.device, parameter.dtype, network.training
    try:
        network.eval().float()
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            for batch in data.evaluation_dataloader(part):
                size = batch.images.shape[-1]
                logits.append(network(batch.images.to(device, torch.float32)).cpu())
                labels.append(batch.labels.cpu())
                indices.append(batch.indices)
    finally:
        network.to(dtype).train(training)
    if not labels:
        raise ValueError(f'part {part!r} has no examples: give another part')
    known = [index.cpu() for index in indices if index is not None]
    return Predictions(torch.cat(logits), torch.cat(labels), torch.cat(known) if known else None), size
