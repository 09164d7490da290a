"""AuxiliarySkip: a skip beside the mixture of each edge, which fades out.

A skip in the mixture wins for two reasons: it helps the supernet to train, as in a residual network, and it is a good
operation. The auxiliary skip takes over the first, so that the mixture is left to judge the second.

    edge(x) = mixed(x) + weight(e) skip(x)

    linear        weight(e) = initial (T - e) / T
    cosine        weight(e) = initial (1 + cos(pi e / T)) / 2
    slow_cosine   weight(e) = initial cos(pi e / (2 T))            e epochs of T are over; none reaches zero

Acts in every forward pass. The skip is the space's own: the state itself, or a factorised reduction with weights of
its own where the size is halved; no selection sees it. Costs one addition on each edge.

``Search(transforms=(AuxiliarySkip(),))`` is DARTS-'s search. No deviations.

References
----------
Chu et al., "DARTS-: Robustly Stepping out of Performance Collapse Without Indicators", ICLR 2021, section 3.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from nni_wcnas.contracts import Moment, Transform
from nni_wcnas.errors import InvalidArgument

__all__ = ['AuxiliarySkip']

# The official code's decays with a start at epoch 0; each is 1 at the first epoch and above 0 at the last.
_DECAYS = {
    'linear': lambda epoch, epochs: (epochs - epoch) / epochs,
    'cosine': lambda epoch, epochs: (1 + math.cos(math.pi * epoch / epochs)) / 2,
    'slow_cosine': lambda epoch, epochs: math.cos(math.pi * epoch / (2 * epochs)),
}


@dataclass(frozen=True)
class AuxiliarySkip(Transform):
    """Add a fading skip to each edge.

    Parameters
    ----------
    initial
        Weight of the skip in the first epoch; positive.
    decay
        How the weight falls, over all stages that go on with the same supernet weights.

    Examples
    --------
    >>> AuxiliarySkip().extra_weight(Moment(epoch=49, epochs=50))
    0.02
    """

    initial: float = 1.0
    decay: Literal['linear', 'cosine', 'slow_cosine'] = 'linear'

    extra = 'skip_connect'

    def __post_init__(self) -> None:
        if not 0 < self.initial < math.inf:
            raise InvalidArgument('initial', self.initial, 'be positive and finite, as 1, or the transform left out')
        if self.decay not in _DECAYS:
            raise InvalidArgument('decay', self.decay, f"be one of {', '.join(_DECAYS)}")

    def extra_weight(self, moment: Moment) -> float:
        """Return the weight of the skip at a moment."""
        # By the age of the weights, not the epoch of the stage: weights that go on
        # have learned with a faded skip already.
        return self.initial * _DECAYS[self.decay](moment.age, moment.span)
