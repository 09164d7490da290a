"""HessianEigenvalue: stop when the validation loss becomes sharp in the architecture, the rule of RobustDARTS.

Found architectures generalise badly when the largest eigenvalue of the Hessian of L_val by A grows. It is measured
every few epochs on the last validation batch, and averaged over a window; when the average exceeds ``factor`` times
what it was ``window - 1`` measurements earlier, the search ends and returns the architecture of the epoch at the centre
of that earlier window.

    mean(t) / mean(t - window + 1) > factor   ->   architecture of epoch e - every * 3 (window - 1) / 2

With the defaults the first check is after epoch 22 and may return epoch 10. Costs a few dozen Hessian-vector products
(double backward passes) a measurement. Deviations: the largest eigenvalue is found by Lanczos iteration on products
instead of the whole Hessian; the weight decay of A, a constant shift, is not part of it; an average that is not
positive is no base for a ratio, and stops nothing.

References
----------
Zela et al., "Understanding and Robustifying Differentiable Architecture Search", ICLR 2020, section 4.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nni_wcnas.contracts import Moment, Schedule, Supernet
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.schedule.single_stage import SingleStage
from nni_wcnas.schedule.stopping import StopRule

__all__ = ['HessianEigenvalue']

_LEAST = 3
"""Number of measurements that an average needs before it is compared, as in the official code."""


@dataclass(frozen=True)
class HessianEigenvalue(StopRule):
    """End a schedule when the largest eigenvalue has grown.

    Parameters
    ----------
    inner
        The schedule to end early.
    window
        Number of measurements in an average, odd.
    factor
        Growth of the average at which to stop.
    start
        Earliest epoch whose architecture may be returned.
    every
        Number of epochs from one measurement to the next.

    Raises
    ------
    ValueError
        When a number is out of range.
    """

    inner: Schedule = SingleStage()
    window: int = 5
    factor: float = 1.3
    start: int = 10
    every: int = 2
    needs_second_derivatives = True

    def __post_init__(self) -> None:
        if isinstance(self.inner, HessianEigenvalue):
            raise InvalidArgument('inner', self.inner, 'one is enough', reason='is a HessianEigenvalue itself')
        if self.window < _LEAST or self.window % 2 == 0:
            raise InvalidArgument('window', self.window, f'be an odd number of measurements, at least {_LEAST}')
        if not 0 < self.factor < math.inf:
            raise InvalidArgument('factor', self.factor, 'be positive and finite')
        if self.start < 0:
            raise InvalidArgument('start', self.start, 'be 0 or a later epoch')
        if self.every < 1:
            raise InvalidArgument('every', self.every, 'be at least 1 epoch')

    def sample(self, supernet: Supernet, moment: Moment) -> dict[str, Any] | None:
        """Measure where it is time; return the architecture before the rise, if there was one."""
        memory = supernet.memory
        # Another stage may have another supernet and learning rate, so the record starts anew.
        if memory.get('stage') != moment.stage:
            memory |= {'stage': moment.stage, 'eigenvalues': [], 'samples': []}
        if moment.epoch % self.every:
            return None
        memory['eigenvalues'].append(supernet.largest_eigenvalue())
        # Kept with each measurement, as the one that is returned lies in the past.
        memory['samples'].append(supernet.export())
        # Positions in the record: the latest window ends at `now`, the earlier one at `before`; `centre` is the middle
        # of the earlier one. With a window of 5 they are 0, 4 and 6 measurements back.
        now = len(memory['eigenvalues']) - 1
        before = now - (self.window - 1)
        centre = before - (self.window - 1) // 2
        if centre < 0 or moment.epoch - (now - centre) * self.every < self.start or before + 1 < _LEAST:
            return None
        earlier = self._mean(memory['eigenvalues'], before)
        if earlier > 0 and self._mean(memory['eigenvalues'], now) / earlier > self.factor:
            return memory['samples'][centre]
        return None

    def _mean(self, values: list[float], last: int) -> float:
        """Return the mean over the window that ends with an entry, as far as the record goes back."""
        window = values[max(0, last - self.window + 1) : last + 1]
        return sum(window) / len(window)
