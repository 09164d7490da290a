"""Named methods: one function a paper row, each a :class:`~nni_wcnas.strategy.Search` with the paper's numbers as
defaults.

Any argument of ``Search`` may be given to override a member or a number: ``darts(hypergradient=Unrolled(by='exact'))``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from nni_wcnas.contracts import Objective
from nni_wcnas.hypergradient import Unrolled
from nni_wcnas.objective import WorstCase
from nni_wcnas.strategy import Search

__all__ = ['PRESETS', 'BASES', 'darts', 'darts_2nd', 'wcnas']


def darts(**overrides: Any) -> Search:
    """DARTS, first order.

    Liu, Simonyan, Yang, ICLR 2019: SGD 0.025 -> 0.001 (the evaluator's defaults), gradient norm clipped to 5, Adam 3e-4
    on the architecture.
    """
    return Search(**{'gradient_clip_val': 5.0, **overrides})


def darts_2nd(**overrides: Any) -> Search:
    """DARTS, second order: the weights are unrolled one step, by finite differences."""
    return darts(**{'hypergradient': Unrolled(), **overrides})


def wcnas(
    base: str = 'darts',
    *,
    trade_off: float = 1.0,
    average_weight: float = 1.0,
    decov: float = 0.1,
    every: int = 8,
    hyperparameter_lr: float = 3e-4,
    reuse_gradient: bool = False,
    **overrides: Any,
) -> Search:
    """WCNAS: a base method that minimises its worst case (papers/wcnas, equations 1-16; numbers of table 25).

    Where text and tables differ the tables win: 3e-4 for A and B (the text has 1e-3 for A), 50 epochs (section 3.3 has
    25). B has no weight decay (the table's 1e-3 would pull the momentum to 0.5 and the weight to 0.69 for no reason).
    The generator's learning rate is the tester's: ``FQGAN``'s default is lower than the table's 0.025, at which small
    generators diverge.

    Parameters
    ----------
    base
        The method whose other axes are taken (so ``'darts'`` and ``'darts_2nd'`` give the same search). The learner's
        weights are unrolled (equations 7 and 12-14) under every base; pass ``hypergradient=FirstOrder()`` for the
        cheaper first-order form.
    trade_off, average_weight, decov, every, hyperparameter_lr, reuse_gradient
        As in :class:`~nni_wcnas.objective.WorstCase`.
    **overrides
        Any argument of ``Search``.

    Raises
    ------
    ValueError
        On an unknown base, or a number for an objective that an override replaces.
    """
    if base not in BASES:
        raise ValueError(f'base must be one of {", ".join(BASES)}, not {base!r}')
    objective = WorstCase(
        trade_off=trade_off,
        average_weight=average_weight,
        decov=decov,
        every=every,
        hyperparameter_lr=hyperparameter_lr,
        reuse_gradient=reuse_gradient,
    )
    if 'objective' in overrides:
        _refuse_useless(objective, overrides['objective'])
    return BASES[base](**{'objective': objective, 'hypergradient': Unrolled(), **overrides})


def _refuse_useless(given: WorstCase, replacement: Objective) -> None:
    """Refuse numbers of an objective that is not used."""
    for field in fields(WorstCase):
        value = getattr(given, field.name)
        if value != field.default:
            raise ValueError(
                f'{field.name}={value} does nothing when objective is {replacement!r}; leave it out, or give it to the '
                'objective'
            )


BASES: dict[str, Callable[..., Search]] = {'darts': darts, 'darts_2nd': darts_2nd}
"""What ``wcnas(base=...)`` accepts."""

PRESETS: dict[str, Callable[..., Search]] = {**BASES, 'wcnas': wcnas}
"""Every preset by name, as settings files spell them."""
