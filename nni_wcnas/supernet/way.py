"""One operation from a state of a cell to a node, with its mixing weight."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from nni_wcnas.supernet.recognition import Candidate

__all__ = ['Way']


class Way(NamedTuple):
    """One operation from a state to a node, with its mixing weight of shape ``()``."""

    source: int
    node: int
    candidate: Candidate
    weight: Tensor
