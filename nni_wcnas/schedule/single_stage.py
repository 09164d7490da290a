"""SingleStage: one supernet, trained from start to end, the schedule of DARTS.

``epochs`` overrides the evaluator's number of epochs; the first ``warmup`` epochs train the weights (and the
adversary's own networks) but touch neither A nor B, nor a generator whose discriminator is B.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nni_wcnas.contracts import CellLayout, Schedule, Stage
from nni_wcnas.errors import InvalidArgument

__all__ = ['SingleStage']


@dataclass(frozen=True)
class SingleStage(Schedule):
    """Train one supernet.

    Parameters
    ----------
    epochs
        Number of epochs; None takes the evaluator's ``max_epochs``.
    warmup
        Epochs at the start that leave the architecture (and the tester's hyper-parameters) alone.

    Raises
    ------
    ValueError
        When ``epochs`` is below 1, or ``warmup`` is negative or leaves no epoch to search.
    """

    epochs: int | None = None
    warmup: int = 0

    def __post_init__(self) -> None:
        if self.epochs is not None and self.epochs < 1:
            raise InvalidArgument('epochs', self.epochs, 'be at least 1')
        if self.warmup < 0:
            raise InvalidArgument('warmup', self.warmup, 'be 0 or more epochs')
        if self.epochs is not None and self.warmup >= self.epochs:
            raise InvalidArgument(
                'warmup', self.warmup, 'lower warmup or raise epochs',
                reason=f'leaves none of the {self.epochs} epochs to search in',
            )

    def stages(self, cells: Sequence[CellLayout]) -> tuple[Stage]:
        """Return the only stage, for any space."""
        del cells  # Unused: it is the same for all.
        # An `epochs` of None is filled in once the evaluator is known.
        return (Stage(self.epochs, self.warmup),)
