"""Decide which test images are the hard ones: by a file, by the reference models, or as they were measured before."""

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
"""The value of ``--difficulty`` for the reference models; the names of their scores begin with it, too."""
NONE = 'none'
"""The value of ``--difficulty`` for a measurement without hard images."""
_SHARE = 0.1


@dataclass(frozen=True)
class HardImages:
    """The hardest share of the test images.

    Parameters
    ----------
    source
        Name that tells this difficulty from others; with a file or models it depends on their content.
    share
        Share of the test images that is hard, in (0, 1).
    scores
        Difficulty of each test image, shape ``(N,)``, higher is harder. None where the hard images were measured before
        and need no scores again, and where there are none.
    """

    source: str
    share: float
    scores: Tensor | None = None


def hard_images(
    data: ImageData, known: Mapping[str, Any] | None, *, difficulty: str | None, kind: Kind, share: float | None
) -> HardImages:
    """Choose the difficulty and the share: those that are given, else those of the earlier measurement.

    Parameters
    ----------
    data
        The data whose test set is measured on.
    known
        ``difficulty`` and ``share`` of an earlier measurement of the same network; None if there is none.
    difficulty, kind, share
        The options ``--difficulty``, ``--kind`` and ``--share`` of the command line; None where one is not given.

    Raises
    ------
    ValueError
        If there is a share that the source does not allow.
    """
    # The share stays that of before, as it also says how many losses the conditional value at risk averages.
    if difficulty == NONE:
        before = _SHARE if known is None else known['share']
        return HardImages(NONE, before if share is None else share)
    if difficulty not in (None, REFERENCE):
        return _of_file(data, difficulty, kind, share)
    # A new share needs the scores again. The reference models give them again; a file must be given again, as its path
    # is not known.
    another = known is None or share not in (None, known['share'])
    # The reference models are the default, as they need nothing of the user.
    if difficulty == REFERENCE or known is None or (another and known['difficulty'].startswith(REFERENCE)):
        reference = reference_models(data, progress=sys.stderr.isatty())
        return HardImages(reference.name, _SHARE if share is None else share, reference.test_scores)
    if another and known['difficulty'] == NONE:
        raise ValueError(f'--share {share:g} needs hard images, and there are none since --difficulty none; give '
                           'another --difficulty, too')
    if another:
        raise ValueError(f'--share {share:g} needs the difficulty that was measured with ({known["difficulty"]}); '
                           'give its --difficulty and --kind, too')
    # The same difficulty and share as before: the measures are there, and no scores are computed.
    return HardImages(known['difficulty'], known['share'])


def _of_file(data: ImageData, path: str, kind: Kind, share: float | None) -> HardImages:
    """Read the difficulty from a file; a file that lists the hard images has a share of its own."""
    scores = load_difficulty(path, data.images.test.labels, kind=kind)
    if scores.share is not None and share is not None:
        raise ValueError(f'--share {share:g} has no meaning with --kind indices, whose file says which images are '
                           'hard; leave it out')
    return HardImages(scores.source, scores.share or (_SHARE if share is None else share), scores.values)
