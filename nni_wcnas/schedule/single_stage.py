"""SingleStage: one supernet, trained from start to end, the schedule of DARTS.

``epochs`` overrides the evaluator's number of epochs; the first ``warmup`` epochs train the weights (and the
adversary's own networks) but touch neither A nor B, nor a generator whose discriminator is B.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nni_wcnas.contracts import CellLayout, Schedule, Stage

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
            raise ValueError(f'epochs must be at least 1, not {self.epochs}')
        if self.warmup < 0:
            raise ValueError(f'warmup must be 0 or more epochs, not {self.warmup}')
        if self.epochs is not None and self.warmup >= self.epochs:
            raise ValueError(
                f'warmup={self.warmup} leaves none of the {self.epochs} epochs to search in; '
                'lower warmup or raise epochs'
            )

    def stages(self, cells: Sequence[CellLayout]) -> tuple[Stage]:
        """Return the only stage, for any space."""
        del cells  # Unused: it is the same for all.
        # An `epochs` of None is filled in once the evaluator is known.
        return (Stage(self.epochs, self.warmup),)
