"""SynthesizedValidation: the architecture minimises the loss on generated images, DASGM.

A class-conditional GAN learns from the architecture's half of the training set while the search runs; the architecture
learns from what it generates, which differs from batch to batch, and not from that half itself.

    dA = d L(W', A, J3) / dA,     J3 = images of G, and ``real_share`` of the batch real validation images
    G, E learn from D_val on every batch

Acts on every ``every``-th batch; the generator and its discriminator learn on every batch, or not at all
(``trains_tester=False``: the ablation with a pre-trained generator). Costs what
:class:`~nni_wcnas.objective.AverageCase` costs, and the GAN's own step. Needs a tester and no auxiliary model.
Deviations: G takes its step at the end of a batch and not at its start, so the architecture sees the G' of the batch
before; the discriminator's architecture is not learned (the paper gives no form of it).

References
----------
papers/dasgm, equations 2-6, algorithm 1, and table 2 for the shares of real images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nni_wcnas.contracts import ArchitectureUpdate, Losses, Objective, Step, Tester
from nni_wcnas.objective.adversary import teach
from nni_wcnas.objective.descent import descent

__all__ = ['SynthesizedValidation']


@dataclass(frozen=True)
class SynthesizedValidation(Objective):
    """Minimise the loss on generated validation examples.

    Parameters
    ----------
    real_share
        Share of real images in each batch that the architecture learns from.
    trains_tester
        Whether the GAN goes on learning.
    every
        Update the architecture on every ``every``-th batch.

    Raises
    ------
    ValueError
        When a number is out of range.
    """

    real_share: float = 0.0
    trains_tester: bool = True
    every: int = 1
    needs_tester = True

    def __post_init__(self) -> None:
        if not 0 <= self.real_share < 1:
            raise ValueError(
                f'real_share must be at least 0 and below 1, not {self.real_share}; for real images alone take '
                'objective=AverageCase()'
            )
        if self.every < 1:
            raise ValueError(f'every must be at least 1 batch, not {self.every}')

    def architecture_step(self, step: Step) -> ArchitectureUpdate:
        """dA of the loss on the synthesized batch."""
        images, labels = self._batch(step)
        alphas, loss = descent(step, lambda weights, alphas: step.learner.loss(images, labels, weights, alphas))
        return ArchitectureUpdate(alphas, {'A': loss, 'generated': loss})

    def adversary_step(self, step: Step, *, update_generator: bool) -> Losses:
        """One step of the GAN on the validation batch, whether or not the architecture has learned from this one."""
        del update_generator  # Unused: the generator learns on every batch.
        if not self.trains_tester:
            return {}
        return teach(_tester(step), step.val, update_generator=True)

    def _batch(self, step: Step) -> tuple[Tensor, Tensor]:
        """Real images first, as many as their share, rounded down; as large as the validation batch."""
        tester, val = _tester(step), step.val
        real = int(self.real_share * len(val.labels))
        noise = tester.noise(len(val.labels) - real)
        with torch.no_grad():
            generated = step.learner.renormalise(tester.generate(noise))
        return torch.cat((val.images[:real], generated)), torch.cat((val.labels[:real], noise.labels))


def _tester(step: Step) -> Tester:
    if step.tester is None:
        raise ValueError(
            'SynthesizedValidation needs a tester: give the search a SearchEvaluator(tester=FQGAN(...))'
        )
    return step.tester
