"""Read how hard each example is from a file, and choose the hardest examples.

One fixed score per example judges every trial and every method on the same hard examples.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from .error import DataArgumentError, DataError
from .hard_indices import read_indices

__all__ = ['DifficultyScores', 'Kind', 'hardest', 'load_difficulty']

Kind = Literal['scores', 'votes', 'agreement', 'indices']


@dataclass(frozen=True)
class DifficultyScores:
    """One score for each example of a data set; higher is harder.

    Parameters
    ----------
    values
        The scores, shape ``(N,)``, finite, in the order of the data set.
    source
        Where the scores come from, for reports; for a file it ends with a hash of the scores.
    share
        Share of the examples that is hard, in (0, 1), where the source says so itself; else None.
    """

    values: Tensor
    source: str
    share: float | None = None

    def hardest(self, indices: Tensor, share: float = 0.1) -> Tensor:
        """Choose the hardest of ``indices``; see :func:`hardest`."""
        return hardest(self.values, indices, share)


def hardest(scores: Tensor, indices: Tensor, share: float = 0.1) -> Tensor:
    """Choose the hardest examples.

    Parameters
    ----------
    scores
        One score for each example of the data set, shape ``(N,)``; higher is harder.
    indices
        The examples to choose from, shape ``(M,)``, each in ``[0, N)``.
    share
        Share of these examples to choose, in (0, 1].

    Returns
    -------
    Tensor
        ``share * M`` of the indices, rounded, at least one, hardest first; of equal scores the smaller index comes
        first.

    Raises
    ------
    DataError
        If there is nothing to choose from, an index has no score, or ``share`` is out of range.

    Examples
    --------
    >>> hardest(torch.tensor([0.1, 0.9, 0.5, 0.9]), torch.tensor([0, 3, 1]), share=0.6)
    tensor([1, 3])
    """
    if not 0 < share <= 1:
        raise DataArgumentError(
            'share', share, 'use 0.1 for the hardest tenth', reason='must be positive and at most 1'
        )
    if not len(indices):
        raise DataError('There are no indices to choose the hardest from; pass at least one.')
    # Sorted first, so that the stable sort by score below leaves equal scores in the order of their indices.
    ascending = indices.sort().values
    if ascending[0] < 0 or ascending[-1] >= len(scores):
        raise DataError(
            f'The indices reach from {int(ascending[0])} to {int(ascending[-1])}, but there are {len(scores)} scores; '
            f'pass the scores of the same data set.'
        )
    chosen = scores[ascending]
    if not chosen.isfinite().all():
        odd = int(ascending[~chosen.isfinite()][0])
        raise DataError(f'Example {odd} has no finite score; use scores that cover all the indices.')
    # Halves are rounded up: Python's round would take them to the even neighbour.
    count = max(1, int(share * len(indices) + 0.5))
    return ascending[chosen.argsort(descending=True, stable=True)[:count]]


def load_difficulty(
    path: str | Path, labels: Tensor, *, kind: Kind = 'scores', models: int | None = None
) -> DifficultyScores:
    """Read the difficulty of each example from a ``.npy`` file, or from a list of the hard ones.

    Parameters
    ----------
    path
        Path of the file.
    labels
        True classes of the data set that the file describes, in its order, shape ``(N,)``.
    kind
        ``'scores'``: shape ``(N,)``, finite, taken as they are, higher is harder.
        ``'votes'``: shape ``(N, C)``, how many people chose each class, as CIFAR-10H; the score is
        1 - the true class's share.
        ``'agreement'``: shape ``(N,)``, how many of M models are right; the score is 1 - count / M.
        ``'indices'``: which K examples are hard, integers, also as a text with one a line; their score is 1, that of
        the others 0, and the share K / N.
    models
        The number M, only with ``'agreement'``; by default the highest count in the file.

    Returns
    -------
    DifficultyScores
        One score for each example, in [0, 1] for all kinds but ``'scores'``.

    Raises
    ------
    DataError
        If the file is missing, unreadable, does not fit the labels, or holds impossible values.
    """
    path = Path(path)
    if kind not in get_args(Kind):
        raise DataArgumentError('kind', kind, "use 'scores', 'votes', 'agreement' or 'indices'", reason='is unknown')
    if models is not None and kind != 'agreement':
        raise DataArgumentError(
            'models', models, "leave it out or use kind='agreement'", reason=f'has no meaning with kind={kind!r}'
        )
    count, share = len(labels), None
    if kind == 'indices':
        # With this share hardest() over all examples chooses exactly the listed ones.
        chosen = read_indices(path, count)
        values, share = torch.zeros(count, dtype=torch.float64).index_fill(0, chosen, 1), len(chosen) / count
    elif kind == 'votes':
        values = _from_votes(path, _read_table(path, kind, count), labels)
    elif kind == 'agreement':
        values = _from_agreement(path, _read_table(path, kind, count), models)
    else:
        values = _read_table(path, kind, count)
    # A hash of the scores, not of the file: the order of the indices in a list, for one, does not matter.
    content = hashlib.sha256(values.numpy().tobytes()).hexdigest()[:16]
    return DifficultyScores(values, f'{kind} of {path.name} {content}', share)


def _read_table(path: Path, kind: Kind, count: int) -> Tensor:
    """Read an array with one row for each example and check its shape and values; float64."""
    table = _read(path)
    dimensions = 2 if kind == 'votes' else 1
    if table.ndim != dimensions:
        raise DataError(
            f'{path} holds an array of shape {tuple(table.shape)}, but kind={kind!r} needs {dimensions} '
            f'dimension{"s" * (dimensions > 1)}; choose the kind that fits the file.'
        )
    if len(table) != count:
        raise DataError(
            f'{path} holds {len(table)} rows but there are {count} labels; '
            f'pass the labels of the data set that the file describes.'
        )
    if not table.isfinite().all() or (kind != 'scores' and (table < 0).any()):
        raise DataError(f'{path} holds negative or non-finite values, which are no {kind}; repair the file.')
    return table


def _read(path: Path) -> Tensor:
    """Read an array of numbers as float64."""
    if not path.is_file():
        raise DataError(f'The file {path} does not exist; pass the path of a .npy file.')
    try:
        # Without pickles, which could run code.
        return torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float64))
    # For a .npz file np.load returns an archive, which has no astype: an AttributeError.
    except (OSError, ValueError, TypeError, EOFError, AttributeError) as error:
        raise DataError(f'The file {path} is not a readable .npy array of numbers; save it with numpy.save.') from error


def _from_votes(path: Path, votes: Tensor, labels: Tensor) -> Tensor:
    """Compute 1 - the share of the true class among the votes ``(N, C)``; shape ``(N,)``."""
    if labels.min() < 0 or labels.max() >= votes.shape[1]:
        raise DataError(
            f'{path} has votes on {votes.shape[1]} classes, but the labels reach from {int(labels.min())} to '
            f'{int(labels.max())}; pass the labels of the data set that the file describes.'
        )
    totals = votes.sum(1)
    if (totals == 0).any():
        raise DataError(
            f'Example {int((totals == 0).nonzero()[0])} of {path} has no votes; remove it from the data or add votes.'
        )
    # (N, C) at (N, 1) -> (N, 1) -> (N,).
    return 1 - votes.gather(1, labels[:, None]).squeeze(1) / totals


def _from_agreement(path: Path, correct: Tensor, models: int | None) -> Tensor:
    """Compute 1 - the share of models that are right, shape ``(N,)``."""
    highest = int(correct.max())
    count = highest if models is None else models
    if count < 1 or highest > count:
        raise DataError(
            f'{path} counts up to {highest} right models of models={count}; pass how many models were asked.'
        )
    return 1 - correct / count
