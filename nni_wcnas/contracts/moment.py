"""Where in the search a pass stands, and which random numbers it draws."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import torch

__all__ = ['Moment']


class Moment(NamedTuple):
    """When a forward pass happens, and which random numbers it draws.

    All passes of one moment draw the same numbers: perturbed evaluations differ by the perturbation alone.
    """

    epoch: int = 0
    """Epoch of the stage, from 0."""
    epochs: int = 1
    """Number of epochs of the stage."""
    warmup: int = 0
    """Epochs at the start of the stage that leave the architecture alone."""
    stage: int = 0
    seed: int = 0
    """Seed of the random numbers; a stochastic relaxation changes it with every resampling."""
    run: tuple[int, int] | None = None
    """Epoch and number of epochs since the weights began, over all stages that go on with them; None stands for the
    stage's."""

    @property
    def age(self) -> int:
        """Epochs since the weights began."""
        return self.epoch if self.run is None else self.run[0]

    @property
    def span(self) -> int:
        """Number of epochs for which the weights are searched with, in all."""
        return self.epochs if self.run is None else self.run[1]

    @property
    def progress(self) -> float:
        """Share of :attr:`span` that is over, in [0, 1]: 0 in its first epoch, 1 in its last if there are several."""
        return self.age / (self.span - 1) if self.span > 1 else 0.0

    def of(self, label: str) -> Moment:
        """Return the same moment with random numbers of its own for a label, as each type of cell has."""
        # crc32, as Python's `hash` of a string changes from process to process. The odd constant (2^64 over the golden
        # ratio) spreads nearby checksums over the seeds; generators take 63 bits.
        return self._replace(seed=(self.seed + zlib.crc32(label.encode()) * 0x9E3779B97F4A7C15) % 2**63)

    def generator(self, device: torch.device) -> torch.Generator:
        """Return a generator of this moment's random numbers; two calls give the same numbers."""
        return torch.Generator(device).manual_seed(self.seed)
