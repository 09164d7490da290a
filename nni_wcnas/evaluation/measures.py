"""How good a trained network is: on all examples, on the hardest share of them, and on the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nni_wcnas.contracts import Batch
from nni_wcnas.data.difficulty import DifficultyScores, hardest
from nni_wcnas.evaluation.network import count_macs, count_parameters

__all__ = ['EvaluationData', 'measure']


class EvaluationData(Protocol):
    """What a measure asks of its data."""

    def evaluation_dataloader(self, part: Any) -> Iterable[Batch]:
        """Batches without augmentation, in order."""


def measure(network: nn.Module, data: EvaluationData, part: str = 'test',
            difficulty_scores: Tensor | DifficultyScores | None = None, share: float = 0.1) -> dict[str, float]:
    """Measure a network in evaluation mode and float32; its mode, precision and weights stay as they were.

    Parameters
    ----------
    network
        Maps images to logits.
    data
        E.g. a :class:`nni_wcnas.data.ImageData`.
    part
        ``'weights'``, ``'architecture'``, ``'train'`` or ``'test'``.
    difficulty_scores
        One score an example, higher is harder, at the example's position in ``Batch.indices``; shape ``(N,)``. None
        leaves out the entries on the hardest share.
    share
        Hardest share of the part, in (0, 1), chosen as :func:`nni_wcnas.data.difficulty.hardest` does.

    Returns
    -------
    dict
        ``accuracy``, ``error`` and ``loss`` (mean cross-entropy) over all examples; with scores the same with ``_hard``
        and ``_rest``; ``examples``, ``parameters`` (without an auxiliary tower) and ``macs`` (of one image).

    Raises
    ------
    ValueError
        If the part is empty, the share leaves no rest, or an example has no score.
    """
    correct, losses, indices, image_size = _predict(network, data.evaluation_dataloader(part))
    if len(correct) == 0:
        raise ValueError(f'part {part!r} has no examples: give another part')
    result = {**_summary(correct, losses), 'examples': float(len(correct))}
    if difficulty_scores is not None:
        hard = _mark_hardest(difficulty_scores, indices, share)
        result |= _summary(correct[hard], losses[hard], '_hard') | _summary(correct[~hard], losses[~hard], '_rest')
    return result | {'parameters': float(count_parameters(network)), 'macs': float(count_macs(network, image_size))}


def _predict(network: nn.Module, batches: Iterable[Batch]) -> tuple[Tensor, Tensor, Tensor | None, int]:
    """Whether each example is right, its loss, its position, and the side of the images."""
    correct, losses, indices, size = [torch.zeros(0)], [torch.zeros(0)], [], 0
    parameter = next(network.parameters())
    device, dtype, training = parameter.device, parameter.dtype, network.training
    try:
        network.eval().float()
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            for batch in batches:
                size = batch.images.shape[-1]
                logits = network(batch.images.to(device, torch.float32)).cpu()
                correct.append((logits.argmax(dim=1) == batch.labels.cpu()).float())
                losses.append(F.cross_entropy(logits, batch.labels.cpu(), reduction='none'))
                indices.append(batch.indices)
    finally:
        network.to(dtype).train(training)
    known = [index.cpu() for index in indices if index is not None]
    return torch.cat(correct), torch.cat(losses), torch.cat(known) if known else None, size


def _mark_hardest(scores: Tensor | DifficultyScores, indices: Tensor | None, share: float) -> Tensor:
    """Which of the examples are among the hardest, shape ``(N,)``, dtype bool."""
    if indices is None:
        raise ValueError('difficulty_scores are given, but the batches have no indices: use data of nni_wcnas.data')
    values = scores.values if isinstance(scores, DifficultyScores) else torch.as_tensor(scores)
    mask = torch.isin(indices, hardest(values.cpu(), indices, share))
    if mask.all():
        raise ValueError(f'share is {share}, which of {len(mask)} examples leaves no rest: give a smaller one')
    return mask


def _summary(correct: Tensor, losses: Tensor, suffix: str = '') -> dict[str, float]:
    """Means over some examples."""
    accuracy, loss = correct.double().mean().item(), losses.double().mean().item()
    return {f'accuracy{suffix}': accuracy, f'error{suffix}': 1 - accuracy, f'loss{suffix}': loss}
