"""Measure a trained network: on all examples, on the hardest share of them, on the rest, and where it is worst."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nni_wcnas.data.difficulty import DifficultyScores, hardest
from nni_wcnas.measure.calibration import brier_score, calibration_error
from nni_wcnas.measure.predictions import EvaluationData, Predictions, predict
from nni_wcnas.measure.worst_case import cvar, errors_by_group, worst
from nni_wcnas.network.cell_network import count_macs, count_parameters

__all__ = ['EvaluationData', 'measure', 'measure_predictions']

_WORST_CLASSES = 3
"""How many classes ``error_worst_3_classes`` averages."""


def measure(network: nn.Module, data: EvaluationData, part: str = 'test',
            difficulty_scores: Tensor | DifficultyScores | None = None, share: float = 0.1) -> dict[str, float]:
    """Measure a network in evaluation mode, in float32 or float64; its modes, precision and weights stay as they were.

    Parameters
    ----------
    network
        Maps images to logits.
    data
        Data with an evaluation loader, e.g. a :class:`nni_wcnas.data.ImageData`.
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
        What :func:`measure_predictions` gives; ``parameters`` (without an auxiliary tower) and ``macs`` (of one image).

    Raises
    ------
    ValueError
        If the part is empty, the share leaves no rest, or an example has no score.
    """
    predictions, image_size = predict(network, data, part)
    result = measure_predictions(predictions, difficulty_scores, share)
    return result | {'parameters': float(count_parameters(network)), 'macs': float(count_macs(network, image_size))}


def measure_predictions(predictions: Predictions, difficulty_scores: Tensor | DifficultyScores | None = None,
                        share: float = 0.1, groups: Tensor | None = None,
                        names: dict[int, str] | None = None) -> dict[str, float]:
    """Measure one pass of predictions.

    Parameters
    ----------
    predictions
        The predictions for N examples, N at least 1.
    difficulty_scores, share
        As for :func:`measure`; the share also says how many losses the conditional value at risk averages.
    groups
        Group of each example at its position in the data set, shape ``(N,)``, integers; None leaves out the entries.
    names
        Name of each group; its number by default.

    Returns
    -------
    dict
        ``accuracy``, ``error``, ``loss`` (mean cross-entropy, nats), ``ece``, ``ece_equal_width`` and ``brier`` over
        all examples; with scores the same with ``_hard`` and ``_rest``. ``error_worst_class``,
        ``error_worst_3_classes`` and ``error_class_{c}``; ``loss_cvar``; with groups ``error_worst_group`` and
        ``error_group_{name}``; ``examples``.

    Raises
    ------
    ValueError
        If the share leaves no rest, or an example has no score or group.
    """
    # Hard images are the same for all networks; the losses that the value at risk averages are this network's worst.
    result = {**_summary(predictions), **_worst_classes(predictions), 'loss_cvar': cvar(predictions.losses, share)}
    result['examples'] = float(len(predictions))
    if difficulty_scores is not None:
        # A mask (N,): the hard examples and the rest together are all examples.
        hard = _mark_hardest(difficulty_scores, predictions.indices, share)
        result |= _summary(predictions[hard], '_hard') | _summary(predictions[~hard], '_rest')
    if groups is not None:
        result |= _groups(predictions, groups, names or {})
    return result


def _mark_hardest(scores: Tensor | DifficultyScores, indices: Tensor | None, share: float) -> Tensor:
    """Tell which of the examples are among the hardest, shape ``(N,)``, dtype bool."""
    indices = _known(indices, 'difficulty_scores')
    values = scores.values if isinstance(scores, DifficultyScores) else torch.as_tensor(scores)
    # hardest() gives positions in the data set, in order of difficulty; isin() turns them into a mask over the examples
    # here.
    mask = torch.isin(indices, hardest(values.cpu(), indices, share))
    if mask.all():
        raise ValueError(f'share is {share}, which of {len(mask)} examples leaves no rest: give a smaller one')
    return mask


def _known(indices: Tensor | None, what: str) -> Tensor:
    """Return the positions in the data set; raise ValueError where they are unknown, naming what needs them."""
    if indices is None:
        raise ValueError(f'{what} are given, but the batches have no indices: use data of nni_wcnas.data')
    return indices


def _summary(predictions: Predictions, suffix: str = '') -> dict[str, float]:
    """Average accuracy, error, loss and calibration over some examples, with a suffix to each name."""
    error, probabilities, labels = predictions.wrong.mean().item(), predictions.probabilities, predictions.labels
    values = {
        'accuracy': 1 - error, 'error': error, 'loss': predictions.losses.mean().item(),
        'ece': calibration_error(probabilities, labels),
        'ece_equal_width': calibration_error(probabilities, labels, kind='width'),
        'brier': brier_score(probabilities, labels),
    }
    return {f'{name}{suffix}': value for name, value in values.items()}


def _worst_classes(predictions: Predictions) -> dict[str, float]:
    """Compute the error of each class, of the worst one, and the mean of the worst three."""
    errors = errors_by_group(predictions.wrong, predictions.labels)
    return {
        'error_worst_class': worst(errors), f'error_worst_{_WORST_CLASSES}_classes': worst(errors, _WORST_CLASSES),
        **{f'error_class_{label}': error for label, error in errors.items()},
    }


def _groups(predictions: Predictions, groups: Tensor, names: dict[int, str]) -> dict[str, float]:
    """Compute the error of each group, and of the worst one."""
    indices = _known(predictions.indices, 'groups')
    if groups.ndim != 1 or int(indices.max()) >= len(groups):
        raise ValueError(f'groups have shape {tuple(groups.shape)}, but the examples reach to position '
                         f'{int(indices.max())}: give one group for each example of the data set')
    # Groups are by position in the data set, (N_all,); predictions may be of some examples in another order, (N,).
    errors = errors_by_group(predictions.wrong, groups[indices])
    by_name = {f'error_group_{names.get(group, group)}': error for group, error in errors.items()}
    return {'error_worst_group': worst(errors), **by_name}
