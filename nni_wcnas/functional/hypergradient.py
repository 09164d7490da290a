"""The whole of the multi-level mathematics: a look-ahead and its derivative, on parameter dictionaries.

One step of SGD stands for the solution of an inner problem, ``params'(target) = params - lr (momentum m + d L / d
params + decay params)``, so the derivative of an outer loss F(params') in ``target`` is::

    dF/dtarget = (direct) - lr (d2 L / d target d params) . (dF / d params')

and every further level contributes one more factor, one more minus sign and one more learning rate (papers/wcnas,
equations 7-16). Nothing here writes to live parameters: callers evaluate their losses with
``torch.func.functional_call``.

All functions expect losses that are deterministic: the caller freezes noise, gates, masks and batch-norm statistics
(:mod:`.frozen`) and leaves reduced precision off (:func:`full_precision`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, reduce
from typing import Literal, NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

from nni_wcnas.errors import InvalidArgument

__all__ = [
    'Parameters',
    'By',
    'InnerGradient',
    'Loss',
    'RADIUS',
    'added',
    'inner_gradient',
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
Loss = Callable[[Parameters, Parameters], Tensor]
"""A scalar loss ``loss(parameters, targets)``: the parameters of an inner problem, and what else it depends on."""
RADIUS = 0.01
"""Length of the perturbation of a finite difference: epsilon = RADIUS / ||vector|| (Liu et al., 2019)."""
_Arguments = ParamSpec('_Arguments')
_Result = TypeVar('_Result')


def gradient(loss: Tensor, parameters: Parameters, *, create_graph: bool = False) -> Parameters:
    """Return the gradient of a scalar by parameter name.

    It is zero for a parameter that the loss does not depend on, and zero everywhere for a loss that has no graph.
    """
    # A supernet whose edges all hold 'none' gives a constant loss, which autograd would refuse to differentiate.
    if not loss.requires_grad:
        return {name: torch.zeros_like(value) for name, value in parameters.items()}
    # Zeros instead of None for unused parameters: sums and products by name then need no special case.
    values = torch.autograd.grad(loss, list(parameters.values()), create_graph=create_graph, materialize_grads=True)
    return dict(zip(parameters, values))


def gradients(output: Tensor, *groups: Parameters, cotangent: Tensor | None = None) -> list[Parameters]:
    """Return the gradients in several groups of parameters, by one backward pass for all of them.

    Parameters
    ----------
    output
        What to differentiate: a scalar, or any tensor with a ``cotangent``.
    *groups
        Parameters by name; zeros are returned for those that ``output`` does not depend on.
    cotangent
        dF/doutput, of the shape of ``output``, for an outer scalar F. None for a scalar ``output``.
    """
    # The order of this list is the order in which the gradients are handed out again below.
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
    """Return where one step of ``torch.optim.SGD`` would take the parameters; the parameters themselves stay.

    The step is p - lr (momentum m + g + decay p), as in torch, with the momentum buffer m of the step before.

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
    # The _foreach functions handle all tensors in a few kernels; a loop over a supernet's hundreds of small tensors
    # would cost more than the arithmetic.
    values, directions = [parameters[name] for name in names], [gradients[name] for name in names]
    if weight_decay:
        # torch's order: decay joins the gradient before momentum, so that it is part of the direction.
        directions = list(torch._foreach_add(directions, values, alpha=weight_decay))
    # Before its first step torch has no buffer and takes the gradient as it is: the same as a buffer of zeros.
    moving = [position for position, name in enumerate(names) if momentum and name in (buffers or {})]
    if moving and buffers:
        pushed = torch._foreach_add(
            [directions[i] for i in moving], [buffers[names[i]] for i in moving], alpha=momentum)
        for position, direction in zip(moving, pushed):
            directions[position] = direction
    # Out of place: the live parameters stay, and the result has a graph wherever its inputs have one.
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
    """Take one SGD step on ``loss``, exactly the one that the optimiser would take: equations 7, 8 and 9.

    Only gradient clipping is left out, as in the papers' code.

    Parameters
    ----------
    loss
        Scalar loss as a function of the parameters.
    parameters
        Where to step from; tensors that require gradients.
    lr, momentum, weight_decay, buffers
        As in :func:`sgd_step`.
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
    """Return the tensors as leaves: cut off from any graph, requiring gradients, sharing memory with the old ones."""
    return {name: value.detach().requires_grad_() for name, value in parameters.items()}


class InnerGradient(NamedTuple):
    """The gradient of an inner problem at one point, and how it changes with what the problem depends on."""

    loss: Tensor
    """Value of the inner loss, a detached scalar."""
    gradients: Parameters
    """dL/dparams by name, detached."""
    product: Callable[[Parameters], Parameters]
    """``vector -> (d2 L / d target d params) . vector``, by target name. With ``'exact'`` it can be called once."""


def inner_gradient(
    loss: Loss, parameters: Parameters, targets: Parameters, by: By = 'exact', radius: float = RADIUS
) -> InnerGradient:
    """Differentiate an inner problem so that its look-ahead can be differentiated too.

    The gradient is that of equations 7 to 9 of papers/wcnas; the product that can be taken afterwards is the one of
    equations 12, 15 and 16.

    Parameters
    ----------
    loss
        Scalar ``loss(parameters, targets)``.
    parameters, targets
        Where the derivatives are taken.
    by, radius
        As in :func:`implicit_product`. ``'exact'`` keeps the graph of the gradient until its product is taken, so that
        both together cost one forward and two backward passes.
    """
    if _check_by(by) == 'finite_difference':
        point = leaves(parameters)
        value = loss(point, _detached(targets))
        # The gradient needs no graph here: the product evaluates the loss anew at two perturbed points.
        product = partial(_by_finite_difference, loss, parameters, targets, radius=radius)
        return InnerGradient(value.detach(), gradient(value, point), product)
    point, by_target = leaves(parameters), leaves(targets)
    value = loss(point, by_target)
    # Targets are leaves as well, so that the graph of the gradient leads to them.
    gradients = gradient(value, point, create_graph=True)
    return InnerGradient(value.detach(), _detached(gradients), partial(_by_double_backward, gradients, by_target))


def implicit_product(
    loss: Loss,
    parameters: Parameters,
    targets: Parameters,
    vector: Parameters,
    by: By = 'exact',
    radius: float = RADIUS,
) -> Parameters:
    """Return (d2 L / d target d params) . vector, the product of equations 12, 15 and 16 of papers/wcnas.

    Neither the second derivative itself nor any other matrix of that size is ever formed.

    Parameters
    ----------
    loss
        Scalar ``loss(parameters, targets)``.
    parameters, targets
        Where the second derivative is taken.
    vector
        One tensor for each parameter.
    by
        ``'exact'``: the gradient by the targets of the scalar (dL/dparams) . vector, by a second backward pass.
        ``'finite_difference'``: dL/dtarget at ``params +- epsilon vector`` with epsilon = radius / ||vector||, as in
        the papers; its error is of order epsilon squared on smooth losses, while a network of rectifiers is smooth only
        between kinks, many of which lie within the published radius (docs: "Second-order terms").
    radius
        Length of the perturbation of all parameters together; 0.01 in Liu et al., 2019.

    Returns
    -------
    One tensor for each target name, detached; zeros when ``vector`` is zero.
    """
    if _check_by(by) == 'finite_difference':
        return _by_finite_difference(loss, parameters, targets, vector, radius=radius)
    # The outer gradient of the inner problem is of no use here, but its graph is.
    return inner_gradient(loss, parameters, targets).product(vector)


def _check_by(by: By) -> By:
    """Return the name of a way to take products; refuse any other."""
    if by not in ('finite_difference', 'exact'):
        raise InvalidArgument('by', by, "be 'finite_difference' or 'exact'")
    return by


def _by_double_backward(gradients: Parameters, targets: Parameters, vector: Parameters) -> Parameters:
    """Return the product of :func:`implicit_product` from gradients dL/dparams that have a graph, which is used up."""
    # d2 L / d target d params . v is the gradient by the targets of the scalar (dL/dparams) . v; autograd takes v as
    # the cotangents of the gradients. A constant gradient, as that of a bias of a linear score, has no graph and would
    # be refused; neither has that of a loss that is separable in parameters and targets.
    names = [name for name, value in gradients.items() if value.requires_grad]
    outputs, cotangents = [gradients[name] for name in names], [vector[name] for name in names]
    if not names:
        return {name: torch.zeros_like(value) for name, value in targets.items()}
    products = torch.autograd.grad(outputs, list(targets.values()), cotangents, materialize_grads=True)
    return dict(zip(targets, products))


def _by_finite_difference(
    loss: Loss, parameters: Parameters, targets: Parameters, vector: Parameters, radius: float
) -> Parameters:
    """Return the product of :func:`implicit_product` by central differences: two passes, no second derivatives."""
    names = list(parameters)
    point, direction = [parameters[name].detach() for name in names], [vector[name].detach() for name in names]
    # The norm of all parameters together, as a scalar on the device: reading it would make the processor wait.
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(direction)))
    # A zero vector moves nowhere: any epsilon gives an exact zero, none gives 0/0.
    epsilon = torch.where(norm > 0, radius / norm, torch.ones_like(norm))

    # dL/dtarget at params + sign epsilon v; first order only, as ``moved`` has no graph.
    def at(sign: float) -> Parameters:
        moved = torch._foreach_add(point, torch._foreach_mul(direction, sign * epsilon))
        by_target = leaves(targets)
        return gradient(loss(dict(zip(names, moved)), by_target), by_target)

    # The central difference cancels the terms of even order, so the error is of order epsilon squared.
    plus, minus = at(1.0), at(-1.0)
    return {name: ((plus[name] - minus[name]) / (2 * epsilon)).detach() for name in plus}


def _detached(parameters: Parameters) -> Parameters:
    """Return the tensors cut off from any graph; they require no gradient."""
    return {name: value.detach() for name, value in parameters.items()}


def added(groups: Sequence[Parameters]) -> Parameters:
    """Return the sum of several groups of tensors, name by name; all groups have the same names."""
    return {name: reduce(torch.add, [group[name] for group in groups]) for name in groups[0]}


def scaled(parameters: Parameters, factor: float) -> Parameters:
    """Multiply every tensor by ``factor``."""
    return {name: factor * value for name, value in parameters.items()}


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute without autocast and without TF32 inside the context.

    A perturbation of norm 0.01, spread over millions of weights, would be lost in TF32's mantissa of 10 bits.
    """
    # Both flags are global: cuDNN's convolutions use TF32 by default, matrix products where a user allowed it.
    cudnn, matmul = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = cudnn, matmul


def replayed(function: Callable[_Arguments, _Result], device: torch.device) -> Callable[_Arguments, _Result]:
    """Return a version of ``function`` whose calls all draw the same random numbers, such as dropout masks and gates.

    They are those that would be drawn at the time of this call. The global random state is left as it was by each call.
    """
    cuda = [device] if device.type == 'cuda' else []
    cpu_state = torch.get_rng_state()
    cuda_state = torch.cuda.get_rng_state(device) if cuda else None

    def replay(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        # fork_rng puts back the state that it finds, also after an error; inside, the remembered one is set.
        with torch.random.fork_rng(devices=cuda):
            torch.set_rng_state(cpu_state)
            if cuda_state is not None:
                torch.cuda.set_rng_state(cuda_state, device)
            return function(*args, **kwargs)

    return replay
