"""SkipDropout: dropout behind the skips that have no weights, which fades out.

Skips make the supernet train fast at first, and gain weight before convolutions are of any use. Dropout cuts that
shortcut at first, and is gone when operations can be compared.

    p(e) = initial (T - e - 1) / T          for the epochs e that leave the architecture alone, of T
    p(e) = initial exp(-0.2 (e - warmup))   then: it starts from ``initial`` again

Acts in every training pass on the candidate ``skip_connect`` of edges that keep the size, elementwise. Costs one mask
on each of these edges. Draws from torch's global random state.

``Search(transforms=(SkipDropout(initial=(0.0, 0.4, 0.7)),))`` is P-DARTS's search on CIFAR-10, a number for each of its
three stages; (0.1, 0.2, 0.3) on CIFAR-100. No deviations.

References
----------
Chen, Xie, Wu, Tian, "Progressive Differentiable Architecture Search: Bridging the Depth Gap between Search and
Evaluation", ICCV 2019, section 3.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from nni_wcnas.contracts import Moment, Transform
from nni_wcnas.errors import InvalidArgument

__all__ = ['SkipDropout']


@dataclass(frozen=True)
class SkipDropout(Transform):
    """Drop elements of what skips pass on.

    Parameters
    ----------
    initial
        Probability that a stage starts from, in [0, 1); a number for each stage, or one for all. Stages beyond the last
        number take the last. With zeros alone, nothing is done.

    Examples
    --------
    >>> SkipDropout(initial=(0.0, 0.4)).probability(Moment(epoch=10, epochs=25, warmup=10, stage=1))
    0.4
    """

    initial: float | tuple[float, ...] = 0.4

    is_random = True

    def __post_init__(self) -> None:
        if isinstance(self.initial, list):  # A settings file holds a list; a frozen dataclass hashes a tuple.
            object.__setattr__(self, 'initial', tuple(self.initial))
        if not self._numbers or not all(0 <= number < 1 for number in self._numbers):
            raise InvalidArgument('initial', self.initial, 'be at least 0 and below 1, for one stage or for each')

    @property
    def _numbers(self) -> tuple[float, ...]:
        """Probabilities that the stages start from, in order."""
        return self.initial if isinstance(self.initial, tuple) else (self.initial,)

    def probability(self, moment: Moment) -> float:
        """Return the probability of dropping an element, at a moment."""
        initial = self._numbers[min(moment.stage, len(self._numbers) - 1)]
        # P-DARTS's two ramps: linear while A rests, then exponential with rate 0.2 an epoch, from `initial` again.
        if moment.epoch < moment.warmup:
            return initial * (moment.epochs - moment.epoch - 1) / moment.epochs
        return initial * math.exp(-0.2 * (moment.epoch - moment.warmup))

    def wrap(self, operation: str, module: nn.Module) -> nn.Module:
        """Put dropout behind a skip without weights."""
        # A skip that halves the size is a factorised reduction, whose weights train like any other: it is no shortcut.
        if operation == 'skip_connect' and isinstance(module, nn.Identity) and any(self._numbers):
            return nn.Sequential(module, nn.Dropout(self.probability(Moment())))
        return module

    def update(self, module: nn.Module, moment: Moment) -> None:
        """Set the probability of a module that :meth:`wrap` has made."""
        for layer in module.children():
            if isinstance(layer, nn.Dropout):
                layer.p = self.probability(moment)
