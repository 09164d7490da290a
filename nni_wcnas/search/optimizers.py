"""The optimisers of a search beside the evaluator's own, and single steps with gradients that are at hand."""

from __future__ import annotations

from typing import Any

import torch

from nni_wcnas.contracts import NamedOptimizer, Objective, Parameters, Tester

__all__ = ['adversary_optimizers', 'architecture_optimizer', 'clip', 'descend', 'together', 'two_lists']


def architecture_optimizer(parameters: list[Any], lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Return Adam (0.5, 0.999) on A, as in all of the papers.

    Raises
    ------
    ValueError
        When there are no architecture parameters.
    """
    if not parameters:
        raise ValueError('this space has nothing to choose, so there is nothing to search')
    return torch.optim.Adam(parameters, lr, betas=(0.5, 0.999), weight_decay=weight_decay)


def adversary_optimizers(objective: Objective, tester: Tester, auxiliary: Any, epochs: int) -> list[NamedOptimizer]:
    """Build the optimisers of the tester's networks, of the auxiliary model and of B, as far as the objective trains
    them.

    That of B is called ``'hyperparameters'``.
    """
    found = tester.optimizers(epochs, learns_b=objective.hyperparameter_lr > 0)
    if not tester.has_hyperparameters:
        return found
    if objective.needs_auxiliary:
        found += auxiliary.optimizers(epochs)
    if objective.hyperparameter_lr:
        # Equation 11 ascends, hence `maximize`. No weight decay: it would pull B's unconstrained numbers to zero,
        # a point without meaning (a momentum of sigmoid(0) = 0.5).
        ascent = torch.optim.Adam(
            tester.hyperparameters().values(), objective.hyperparameter_lr, betas=(0.5, 0.999), maximize=True
        )
        found.append(NamedOptimizer('hyperparameters', ascent))
    return found


def together(
    optimizers: list[Any], schedulers: list[Any], adversary: list[NamedOptimizer]
) -> tuple[list[Any], list[Any]]:
    """Return NNI's optimisers, of the weights and the architecture, with the adversary's in between.

    A new stage finds the weights' at the first place and the architecture's at the last.
    """
    more = [
        {'scheduler': each.scheduler, 'interval': 'epoch', 'frequency': 1}
        for each in adversary
        if each.scheduler is not None
    ]
    return [optimizers[0], *(each.optimizer for each in adversary), *optimizers[1:]], [*schedulers, *more]


def two_lists(configured: Any) -> tuple[list[Any], list[Any]]:
    """Return optimisers and schedulers, out of the forms that NNI's module returns."""
    if (
        isinstance(configured, (list, tuple))
        and len(configured) == 2
        and all(isinstance(part, list) for part in configured)
    ):
        return list(configured[0]), list(configured[1])
    # One dictionary for each optimiser, as for an evaluator that returns 'optimizer' and 'lr_scheduler'.
    if isinstance(configured[0], dict):
        return [entry['optimizer'] for entry in configured], [
            entry['lr_scheduler'] for entry in configured if 'lr_scheduler' in entry
        ]
    return list(configured), []


def clip(gradients: Parameters, limit: float) -> None:
    """Scale all gradients together to a norm of at most ``limit``."""
    # The norm over all tensors together; 1e-6 is that of
    # `torch.nn.utils.clip_grad_norm_`, which works in place on .grad.
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(value) for value in gradients.values()]))
    for name, value in gradients.items():
        gradients[name] = value * (limit / (norm + 1e-6)).clamp(max=1.0)


def descend(optimizer: Any, parameters: Parameters, gradients: Parameters) -> None:
    """Take one optimiser step with gradients that were computed apart from it."""
    optimizer.zero_grad()
    for name, parameter in parameters.items():
        parameter.grad = gradients[name]
    optimizer.step()
