"""The optimiser of a retraining: the papers' SGD, or any of timm's optimisers by name.

``'sgd'`` is SGD with plain momentum, as in the papers. timm calls that ``'momentum'``; by ``'sgd'`` it means
Nesterov's, which is ``'nesterov'`` here and there. Each of timm's optimisers gets the recipe's learning rate of the
epoch, its ``weight_decay`` on all weights, biases and norms included, and, if timm's table says that it has one, its
``momentum``. All else, such as Adam's betas, is timm's default. ``'lookahead_adamw'`` is AdamW under timm's Lookahead.
Optimisers that need second derivatives are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from nni_wcnas.errors import InvalidArgument
from nni_wcnas.nearest_name import nearest_name

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ['check_optimizer', 'make_optimizer', 'optimizer_names']

_LOOKAHEAD = 'lookahead_'
"""Prefix by which timm wraps an optimiser in Lookahead."""


@cache
def optimizer_names() -> tuple[str, ...]:
    """Return the names of timm's optimisers that can be asked for, each but ``'sgd'`` also behind ``'lookahead_'``."""
    # Imported here, as the command line reads recipes and must be fast.
    from timm.optim import get_optimizer_info, list_optimizers

    return tuple(name for name in map(str, list_optimizers()) if not get_optimizer_info(name).second_order)


def check_optimizer(name: str, lr: float, momentum: float, weight_decay: float) -> None:
    """Make an optimiser once, so that a mistake which only timm knows of is told before the training.

    Raises
    ------
    ValueError
        If there is no optimiser of that name, or it cannot be made here with these numbers.
    """
    if name == 'sgd':
        return
    if name.removeprefix(_LOOKAHEAD) not in optimizer_names():
        nearest = nearest_name(name.lower(), optimizer_names())
        raise InvalidArgument(
            'optimizer', name, f'did you mean {nearest!r}?', reason='is none of those of timm that can be used here'
        )
    from torch import nn

    try:
        # A matrix and a vector: some of timm's optimisers treat the two in different ways.
        make_optimizer(nn.Linear(2, 2).parameters(), name, lr, momentum, weight_decay)
    except (ImportError, AssertionError, RuntimeError, ValueError, TypeError) as error:
        reason = ' '.join(str(error).split()).rstrip('.') or type(error).__name__
        raise InvalidArgument('optimizer', name, 'give another', reason=f'cannot be made here ({reason})') from error


def make_optimizer(
    parameters: Iterable[nn.Parameter], name: str, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Build an optimiser by its name; a training sets its learning rate at the start of each epoch.

    Parameters
    ----------
    parameters
        The weights to train.
    name
        ``'sgd'``, or one of :func:`optimizer_names`.
    lr, momentum, weight_decay
        As in :class:`nni_wcnas.retrain.recipe.RetrainingRecipe`.
    """
    import torch

    if name == 'sgd':
        return torch.optim.SGD(parameters, lr, momentum, weight_decay=weight_decay, foreach=True)
    from timm.optim import create_optimizer_v2

    # Given parameters rather than a module, timm decays all of them; given a module, it would leave biases out.
    return create_optimizer_v2(list(parameters), name, lr=lr, weight_decay=weight_decay, momentum=momentum)
