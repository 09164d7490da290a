"""The whole of the multi-level mathematics: two functions on parameter dictionaries.

One step of SGD stands for the solution of an inner problem, ``params'(target) = params - lr (momentum m + d L / d
params + decay params)``, so the derivative of an outer loss F(params') in ``target`` is::

    dF/dtarget = (direct) - lr (d2 L / d target d params) . (dF / d params')

and every further level contributes one more factor, one more minus sign and one more learning rate (papers/wcnas,
equations 7-16). Nothing here writes to live parameters: callers evaluate their losses with
``torch.func.functional_call``.

Both functions expect losses that are deterministic: the caller freezes noise, gates, masks and batch-norm statistics
(:mod:`.frozen`) and leaves reduced precision off (:func:`full_precision`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, ParamSpec, TypeVar

import torch
from torch import Tensor

__all__ = [
    'Parameters',
    'By',
    'RADIUS',
    'lookahead',
    'implicit_product',
    'gradient',
    'gradients',
    'sgd_step',
    'leaves',
    'scaled',
    'full_precision',
    'replayed',
]

Parameters = dict[str, Tensor]
By = Literal['finite_difference', 'exact']
RADIUS = 0.01
"""Length of the perturbation of a finite difference (Liu et al., 2019)."""
_Arguments = ParamSpec('_Arguments')
_Result = TypeVar('_Result')


def gradient(loss: Tensor, parameters: Parameters, *, create_graph: bool = False) -> Parameters:
    """Gradient of a scalar by parameter name; zeros where the loss does not depend on a parameter, or on any."""
    if not loss.requires_grad:  # As that of cells of which 'none' alone is left.
        return {name: torch.zeros_like(value) for name, value in parameters.items()}
    values = torch.autograd.grad(loss, list(parameters.values()), create_graph=create_graph, materialize_grads=True)
    return dict(zip(parameters, values))


def gradients(output: Tensor, *groups: Parameters, cotangent: Tensor | None = None) -> list[Parameters]:
    """Gradients in several groups of parameters by one backward pass; ``cotangent`` is dF/doutput where ``output`` is
    not a scalar."""
    flat = [value for group in groups for value in group.values()]
    values = iter(torch.autograd.grad(output, flat, cotangent, materialize_grads=True))
    return [{name: next(values) for name in group} for group in groups]


def sgd_step(
    parameters: Parameters,
    gradients: Parameters,
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    buffers: Parameters | None = None,
) -> Parameters:
    """Where ``torch.optim.SGD`` would take ``parameters``, without taking them there.

    Parameters
    ----------
    parameters, gradients
        Tensors of equal shapes by name.
    lr, momentum, weight_decay
        As in ``torch.optim.SGD`` without dampening or Nesterov momentum.
    buffers
        Momentum buffers by name; a missing one counts as zero, as before the optimiser's first step.

    Returns
    -------
    New tensors by name; part of the autograd graph if the inputs are.
    """
    names = list(parameters)
    values, directions = [parameters[name] for name in names], [gradients[name] for name in names]
    if weight_decay:
        directions = list(torch._foreach_add(directions, values, alpha=weight_decay))
    moving = [position for position, name in enumerate(names) if momentum and name in (buffers or {})]
    if moving and buffers:
        pushed = torch._foreach_add(
            [directions[i] for i in moving], [buffers[names[i]] for i in moving], alpha=momentum)
        for position, direction in zip(moving, pushed):
            directions[position] = direction
    return dict(zip(names, torch._foreach_add(values, directions, alpha=-lr)))


def lookahead(
    loss: Callable[[Parameters], Tensor],
    parameters: Parameters,
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    buffers: Parameters | None = None,
    create_graph: bool = False,
) -> Parameters:
    """One SGD step on ``loss``, exactly the one the optimiser would take (gradient clipping aside): equations 7, 8 and
    9.

    Parameters
    ----------
    loss
        Scalar loss as a function of the parameters.
    parameters
        Where to step from; tensors that require gradients.
    create_graph
        Keep the graph, so that the result can be differentiated through (tests, exact nested derivatives).

    Returns
    -------
    The stepped parameters; fresh leaves that require gradients unless ``create_graph``.
    """
    gradients = gradient(loss(parameters), parameters, create_graph=create_graph)
    stepped = sgd_step(parameters, gradients, lr=lr, momentum=momentum, weight_decay=weight_decay, buffers=buffers)
    return stepped if create_graph else leaves(stepped)


def leaves(parameters: Parameters) -> Parameters:
    """Detach from any graph and require gradients."""
    return {name: value.detach().requires_grad_() for name, value in parameters.items()}


def implicit_product(
    target_gradient: Callable[[Parameters, bool], Parameters],
    parameters: Parameters,
    vector: Parameters,
    by: By = 'finite_difference',
    radius: float = RADIUS,
) -> Parameters:
    """(d2 L / d target d params) . vector: equations 12, 15 and 16.

    Parameters
    ----------
    target_gradient
        ``target_gradient(params, create_graph)`` returns dL/dtarget at ``params``, by target name; with
        ``create_graph`` the result must be differentiable in ``params``.
    parameters
        Where the second derivative is taken.
    vector
        One tensor for each parameter.
    by
        ``'finite_difference'``: two evaluations at ``params +- epsilon vector`` with epsilon = radius / ||vector||; its
        error is of order epsilon squared on smooth losses, while a network of rectifiers is smooth only between kinks,
        which the published radius crosses. ``'exact'``: double backward, at the price of the memory of a second graph.
    radius
        Length of the perturbation of all parameters together; 0.01 in Liu et al., 2019. Float32 needs one well above
        1e-3.

    Returns
    -------
    One tensor for each target name, detached; zeros when ``vector`` is zero.
    """
    if by == 'exact':
        return _by_double_backward(target_gradient, parameters, vector)
    if by == 'finite_difference':
        return _by_finite_difference(target_gradient, parameters, vector, radius)
    raise ValueError(f"by must be 'finite_difference' or 'exact', not {by!r}")


def _by_double_backward(
    target_gradient: Callable[[Parameters, bool], Parameters], parameters: Parameters, vector: Parameters
) -> Parameters:
    point = leaves(parameters)
    gradients = target_gradient(point, True)
    products = {name: torch.zeros_like(value) for name, value in gradients.items()}
    # A constant gradient, as that of a bias of a linear score, has no mixed derivative, and no graph.
    varying = {name: value for name, value in gradients.items() if value.requires_grad}
    if not varying:
        return products
    # d target . params is linear in a dummy cotangent u: differentiate u . g(params) in params against the vector, then
    # in u.
    cotangents = {name: torch.zeros_like(value, requires_grad=True) for name, value in varying.items()}
    through = torch.autograd.grad(
        list(varying.values()),
        list(point.values()),
        list(cotangents.values()),
        create_graph=True,
        materialize_grads=True,
    )
    total = torch.stack([(g * vector[name]).sum() for g, name in zip(through, point)]).sum()
    if not total.requires_grad:  # L is separable: the mixed derivative vanishes identically
        return products
    return products | {name: value.detach() for name, value in gradient(total, cotangents).items()}


def _by_finite_difference(
    target_gradient: Callable[[Parameters, bool], Parameters], parameters: Parameters, vector: Parameters, radius: float
) -> Parameters:
    names = list(parameters)
    point, direction = [parameters[name].detach() for name in names], [vector[name].detach() for name in names]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(direction)))
    # A zero vector moves nowhere: any epsilon gives an exact zero, none gives 0/0.
    epsilon = torch.where(norm > 0, radius / norm, torch.ones_like(norm))

    def at(sign: float) -> Parameters:
        moved = torch._foreach_add(point, torch._foreach_mul(direction, sign * epsilon))
        return target_gradient(dict(zip(names, moved)), False)

    plus, minus = at(1.0), at(-1.0)
    return {name: ((plus[name] - minus[name]) / (2 * epsilon)).detach() for name in plus}


def scaled(parameters: Parameters, factor: float) -> Parameters:
    """Multiply every tensor by ``factor``."""
    return {name: factor * value for name, value in parameters.items()}


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Autocast and TF32 off: a perturbation of norm 0.01 over millions of weights is lost in a 10-bit mantissa."""
    cudnn, matmul = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = cudnn, matmul


def replayed(function: Callable[_Arguments, _Result], device: torch.device) -> Callable[_Arguments, _Result]:
    """Make each call of ``function`` draw the same random numbers (dropout masks, gates) and leave the global random
    state as it was."""
    cuda = [device] if device.type == 'cuda' else []
    cpu_state = torch.get_rng_state()
    cuda_state = torch.cuda.get_rng_state(device) if cuda else None

    def replay(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with torch.random.fork_rng(devices=cuda):
            torch.set_rng_state(cpu_state)
            if cuda_state is not None:
                torch.cuda.set_rng_state(cuda_state, device)
            return function(*args, **kwargs)

    return replay
