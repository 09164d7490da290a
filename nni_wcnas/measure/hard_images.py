"""Which test images are the hard ones: those of a file, of the reference models, or those that were measured before."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nni_wcnas.data import ImageData
from nni_wcnas.data.difficulty import Kind, load_difficulty
from nni_wcnas.data.reference import reference_models

__all__ = ['NONE', 'REFERENCE', 'HardImages', 'hard_images']

REFERENCE = 'reference'
"""What ``--difficulty`` calls the reference models; the names of their scores begin so, too."""
NONE = 'none'
"""What ``--difficulty`` calls a measurement without hard images."""
_SHARE = 0.1


@dataclass(frozen=True)
class HardImages:
    """The hardest share of the test images.

    Parameters
    ----------
    source
        What tells their difficulty from others.
    share
        In (0, 1).
    scores
        Shape ``(N,)``, higher is harder; None for those that were measured before, and where there are none.
    """

    source: str
    share: float
    scores: Tensor | None = None


def hard_images(
    data: ImageData, known: Mapping[str, Any] | None, *, difficulty: str | None, kind: Kind, share: float | None
) -> HardImages:
    """Choose the difficulty and the share: what is given, else what was measured with.

    Parameters
    ----------
    data
        What is measured on.
    known
        ``difficulty`` and ``share`` of an earlier measurement of the same network; None if there is none.
    difficulty, kind, share
        As on the command line.

    Raises
    ------
    ValueError
        If there is a share that the source does not allow.
    """
    if difficulty == NONE:
        before = _SHARE if known is None else known['share']
        return HardImages(NONE, before if share is None else share)
    if difficulty not in (None, REFERENCE):
        return _of_file(data, difficulty, kind, share)
    another = known is None or share not in (None, known['share'])
    if difficulty == REFERENCE or known is None or (another and known['difficulty'].startswith(REFERENCE)):
        reference = reference_models(data, progress=sys.stderr.isatty())
        return HardImages(reference.name, _SHARE if share is None else share, reference.test_scores)
    if another and known['difficulty'] == NONE:
        raise ValueError(f'--share {share:g} needs hard images, and there are none since --difficulty none; give '
                           'another --difficulty, too')
    if another:
        raise ValueError(f'--share {share:g} needs the difficulty that was measured with ({known["difficulty"]}); '
                           'give its --difficulty and --kind, too')
    return HardImages(known['difficulty'], known['share'])


def _of_file(data: ImageData, path: str, kind: Kind, share: float | None) -> HardImages:
    """A file that lists the hard images has a share of its own."""
    scores = load_difficulty(path, data.images.test.labels, kind=kind)
    if scores.share is not None and share is not None:
        raise ValueError(f'--share {share:g} has no meaning with --kind indices, whose file says which images are '
                           'hard; leave it out')
    return HardImages(scores.source, scores.share or (_SHARE if share is None else share), scores.values)
