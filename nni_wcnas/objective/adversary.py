"""The tester's own step on a batch, shared by the objectives that have a tester; losses get the paper's letters."""

from __future__ import annotations

from nni_wcnas.contracts import Batch, Losses, Tester

__all__ = ['teach']

_SYMBOLS = {'generator': 'G', 'discriminator': 'S'}


def teach(tester: Tester, batch: Batch, *, update_generator: bool) -> Losses:
    """Train the discriminator on real images and, if told so, the generator; return their losses, as S and G."""
    losses = tester.adversary_step(batch, update_generator=update_generator)
    return {_SYMBOLS.get(name, name): value for name, value in losses.items()}
