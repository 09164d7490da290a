"""Plain SGD with cosine annealing, and the numbers of its next step as the hypergradient needs them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR

from nni_wcnas.contracts import Parameters, SGDStep
from nni_wcnas.errors import InvalidArgument

__all__ = ['check_rates', 'clip', 'cosine_sgd', 'next_step']


def check_rates(owner: str, lr: float, min_lr: float, momentum: float, weight_decay: float,
                gradient_clip_val: float | None = None) -> None:
    """Raise ValueError if a learning rate would anneal upwards, or a value is out of its range.

    Raises
    ------
    ValueError
        If a value is refused; it names the value, its limit and the remedy.
    """
    # A generator's numbers are arguments of its tester, where the discriminator has some, too.
    prefix = 'generator_' if owner == 'generator' else ''
    if not lr > 0:
        raise InvalidArgument(f'{prefix}lr', lr, 'be positive')
    if not 0 <= min_lr <= lr:
        raise InvalidArgument('min_lr', min_lr, f'lie between 0 and {prefix}lr={lr}, which anneals down to it')
    if not 0 <= momentum < 1:
        raise InvalidArgument(f'{prefix}momentum', momentum, 'lie in [0, 1)')
    if weight_decay < 0:
        raise InvalidArgument(f'{prefix}weight_decay', weight_decay, 'be 0 or more')
    if gradient_clip_val is not None and not 0 < gradient_clip_val < math.inf:
        raise InvalidArgument(
            f'{prefix}gradient_clip_val', gradient_clip_val, 'be positive and finite, or left out for no clip'
        )


def clip(parameters: Iterable[nn.Parameter], limit: float | None) -> None:
    """Scale the gradients of all parameters together to a norm of at most ``limit``; None leaves them as they are."""
    if limit is not None:
        nn.utils.clip_grad_norm_(parameters, limit)


def cosine_sgd(parameters: Iterable[nn.Parameter], *, lr: float, momentum: float, weight_decay: float, min_lr: float,
               epochs: int) -> tuple[SGD, CosineAnnealingLR]:
    """Build SGD whose rate falls from ``lr`` to ``min_lr`` on a half cosine over ``epochs`` scheduler steps."""
    # One group, no dampening, no Nesterov momentum: what SGDStep can describe.
    optimizer = SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)
    # T_max = 0, of a search of no epochs, would divide by zero.
    return optimizer, CosineAnnealingLR(optimizer, T_max=max(epochs, 1), eta_min=min_lr)


def next_step(optimizer: SGD, parameters: Parameters) -> SGDStep:
    """Return the numbers of an optimiser's next step, as the look-aheads of equations 8 and 9 take it.

    The optimiser has one parameter group. Before its first step it has no momentum buffers, and none is returned.
    """
    # Read anew for each look-ahead: the scheduler moves the rate, and each step the buffers.
    group = optimizer.param_groups[0]
    states = {name: optimizer.state.get(parameter, {}).get('momentum_buffer') for name, parameter in parameters.items()}
    buffers = {name: buffer for name, buffer in states.items() if buffer is not None}
    return SGDStep(lr=group['lr'], momentum=group['momentum'], weight_decay=group['weight_decay'], buffers=buffers)
