"""The cells of a network that is trained from scratch, faster on a CPU: what their edges share is computed once.

Inside :func:`fast_cells`, all in channels-last layout,

- a state's ``relu`` and each of its pools are computed once for all edges that leave it; a cell hands on what the next
  two would begin with, ``relu`` of its output, unless it is the last,
- a separable convolution is the depthwise kernel of ``functional/depthwise.py``; the pointwise convolution and batch
  norm after it are one product (``functional/pointwise_norm.py``),
- the two halves of a factorized reduction are cut out at once.

Drop path draws what it would have drawn, edge by edge, so the numbers are those of
:class:`~nni_wcnas.network.cell_network.CellNetwork` up to rounding, running statistics included. Weights, their names
and their modes stay where they are. Under autocast and on other devices the cells compute as they always do. Hooks on
layers inside a cell are not called.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nni_wcnas.functional.convolution import depthwise
from nni_wcnas.functional.corners import corners
from nni_wcnas.functional.pointwise_norm import BatchStatistics, normalised
from nni_wcnas.network.cell_network import Cell, CellNetwork, DropPath
from nni_wcnas.spaces.operations import FactorizedReduce
from nni_wcnas.supernet.recognition import Candidate, Identity, Other, Pool, Separable, Stage, recognise
from nni_wcnas.supernet.running_averages import RunningAverages, uses_batch

__all__ = ['fast_cells']


@contextmanager
def fast_cells(network: nn.Module) -> Iterator[None]:
    """Let the cells of a network compute faster inside the context; a network without such cells is left alone.

    Parameters
    ----------
    network
        A :class:`nni_wcnas.network.cell_network.CellNetwork`, or anything that holds some.
    """
    networks = [module for module in network.modules() if isinstance(module, CellNetwork)]
    cells = [cell for module in networks for cell in module.cells]
    hooks = [module.register_forward_pre_hook(_channels_last) for module in networks]
    for module in networks:
        for index, cell in enumerate(module.cells):
            fast = _FastCell(cell, index, is_last=index == len(module.cells) - 1)  # type: ignore[arg-type]
            # An instance attribute hides the class's method, so names, hooks on whole cells and `state_dict` stay as
            # they are, and deleting it below brings the method back.
            cell.forward = fast
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for cell in cells:
            del cell.forward


def _applies(images: Tensor) -> bool:
    """Tell whether the fast pass serves these images: on a CPU, outside autocast."""
    return images.device.type == 'cpu' and not torch.is_autocast_enabled('cpu')


def _channels_last(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """Put the images of a forward pass into channels-last layout, which all maps after them then have too."""
    del module  # Unused: the signature is torch's.
    (images,) = inputs
    return (images.contiguous(memory_format=torch.channels_last) if _applies(images) else images,)


class _Edge(NamedTuple):
    """One kept edge of a cell, with its operation taken apart."""

    node: int
    source: int
    operation: nn.Module
    candidate: Candidate
    drop_path: DropPath | None


class _FastCell:
    """The forward pass of one cell, which takes the place of ``Cell.forward``.

    Parameters
    ----------
    cell
        The cell whose weights are used.
    index
        Position of the cell in its network, from 0; the stem, whose output the first two cells take, hands on maps that
        are not rectified.
    is_last
        Whether the output goes to the classifier, which wants it as it is.
    """

    def __init__(self, cell: Cell, index: int, *, is_last: bool) -> None:
        self.cell, self.is_last = cell, is_last
        self.plain = cell.forward
        # Cell 0 takes both inputs from the stem, cell 1 the older one; all other inputs were rectified by the cell that
        # handed them on.
        self.is_rectified = index > 1, index > 0
        # `cell.edges` is flat, node by node: the same order as this list.
        sources = [(node, source) for node, group in enumerate(cell.sources) for source in group]
        self.edges = []
        for (node, source), edge in zip(sources, cell.edges, strict=True):
            operation, drop = tuple(edge) if isinstance(edge, nn.Sequential) else (edge, None)
            self.edges.append(_Edge(node, source, operation, recognise(operation), drop))  # type: ignore[arg-type]
        # All running averages are moved in one call, which needs one momentum: all norms of a network have the same.
        norms = [stage.norm for edge in self.edges if isinstance(edge.candidate, Separable)
                 for stage in edge.candidate.stages]
        self.momentum = norms[0].momentum or 0.0 if norms else 0.0

    def __call__(self, before: Tensor, last: Tensor) -> Tensor:
        """Compute what the cell itself would, given and handing on rectified maps between cells.

        Shapes are those of ``Cell.forward``. Every separable convolution, factorized reduction and preprocessing begins
        with a ReLU, so ReLU is applied once to a state instead of once on each edge; pools and identities read the
        state itself.
        """
        # Every cell of a pass takes the same branch, so none of them meets a rectified map that it does not expect.
        if not _applies(before):
            return self.plain(before, last)
        cell = self.cell
        first, second = (x if done else F.relu(x) for x, done in zip((before, last), self.is_rectified))
        states = [_preprocess(cell.preprocess_before, first), _preprocess(cell.preprocess_last, second)]
        # Drawn first and in the order of the plain cell, edge by edge: the outputs below come about state by state, and
        # another order would give each path another random number.
        masks = [_mask(edge.drop_path, states[0]) for edge in self.edges]
        averages = RunningAverages(self.momentum)
        outputs: dict[int, Tensor] = {}  # By position of the edge, until its node adds it up.
        rectified: list[Tensor] = []
        for number in range(2 + len(cell.sources)):
            # States 0 and 1 are the inputs; state 2 + j is node j, whose sources all have lower numbers.
            if number >= 2:
                entering = [i for i, edge in enumerate(self.edges) if edge.node == number - 2]
                states.append(_sum([(outputs.pop(i), masks[i]) for i in entering]))
            rectified.append(F.relu(states[number]))
            # All edges that leave a state are computed together, so that they can share its pools.
            leaving = {i: edge for i, edge in enumerate(self.edges) if edge.source == number}
            outputs.update(zip(leaving, _leave(states[number], rectified[number], leaving.values(), averages)))
        averages.update()
        # ReLU acts on each number, so rectifying before the concatenation is rectifying the cell's output. The
        # auxiliary head loses nothing by it: it begins with a ReLU, too.
        handed = states if self.is_last else rectified
        return torch.cat([handed[2 + node] for node in cell.outputs], dim=1)


def _preprocess(module: nn.Module, rectified: Tensor) -> Tensor:
    """Apply a ReLUConvNorm or FactorizedReduce without its ReLU, to a map that is rectified already."""
    if isinstance(module, FactorizedReduce):
        return _reduced(module, rectified)
    _, *layers = module.children()
    return nn.Sequential(*layers)(rectified)


def _reduced(module: FactorizedReduce, rectified: Tensor) -> Tensor:
    """Apply a FactorizedReduce without its ReLU, to a rectified map of shape ``(N, C, H, W)``.

    An odd H or W is left to the module itself, which pads: its second ReLU changes nothing.
    """
    if rectified.shape[2] % 2 or rectified.shape[3] % 2:
        return module(rectified)
    # (N, C, H, W) -> twice (N, C, H / 2, W / 2): the pixels at even rows and columns, and those at odd ones.
    even, odd = corners(rectified, (0, 1))
    return module.norm(torch.cat([module.conv_even(even), module.conv_odd(odd)], dim=1))


def _mask(drop_path: DropPath | None, like: Tensor) -> Tensor | None:
    """Draw what drop path multiplies an edge's output by, shape ``(N, 1, 1, 1)``; None where it changes nothing."""
    if drop_path is None or not drop_path.training or (drop_path.keep is None and drop_path.probability == 0):
        return None
    # Drop path of ones is its mask, 0 or 1 / keep for each example, and draws what it would draw for a whole map.
    return drop_path(like.new_ones(len(like), 1, 1, 1))


def _sum(terms: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
    """Add up the outputs of a node's edges, each times its drop path mask, in the order of the edges."""
    (total, mask), *others = terms
    if mask is not None:
        total = total * mask
    for output, mask in others:
        # One pass over memory for a product and a sum.
        total = total + output if mask is None else torch.addcmul(total, output, mask)
    return total


def _leave(state: Tensor, rectified: Tensor, edges: Iterable[_Edge], averages: RunningAverages) -> list[Tensor]:
    """Return the outputs of all edges that leave a state, in the order given.

    Parameters
    ----------
    state, rectified
        The state and its ReLU, each of shape ``(N, C, H, W)``.
    edges
        The edges.
    averages
        Collects what the batch norms on the edges see.
    """
    pools: dict[Hashable, Tensor] = {}
    outputs = []
    for edge in edges:
        match edge.candidate:
            case Identity():
                outputs.append(state)
            case Separable(stages):
                outputs.append(_separable(rectified, stages, averages))
            # Only a pool without a norm: the networks here have none behind pools, and its key tells equal pools.
            case Pool(pool, None) as shared:
                if shared.key not in pools:
                    pools[shared.key] = pool(state)
                outputs.append(pools[shared.key])
            # A skip of a reduction cell.
            case Other(FactorizedReduce() as module):
                outputs.append(_reduced(module, rectified))
            case _:
                outputs.append(edge.operation(state))
    return outputs


def _separable(x: Tensor, stages: Sequence[Stage], averages: RunningAverages) -> Tensor:
    """Apply a separable convolution without its first ReLU.

    Each stage is a depthwise convolution, and a pointwise convolution and batch norm in one product; a ReLU stands
    between two stages.

    Parameters
    ----------
    x
        Rectified map, shape ``(N, C, H, W)``.
    stages
        Layers of the convolution.
    averages
        Collects the batch statistics of the norms.

    Returns
    -------
    torch.Tensor
        Shape ``(N, C', H', W')``.
    """
    for number, stage in enumerate(stages, 1):
        conv, norm = stage.depthwise, stage.norm
        x = depthwise(x, conv.weight, stride=conv.stride[0], padding=int(conv.padding[0]), dilation=conv.dilation[0])
        rows = x.permute(0, 2, 3, 1).flatten(0, 2)  # (N, C, H, W) -> (N * H * W, C); a view in channels-last.
        # In evaluation mode the norm takes its running statistics; without any, or in training, the batch's own.
        # `normalised` serves many branches at once; here is one, hence the lists and the leading axes of size 1.
        given = None
        if not uses_batch(norm):
            given = BatchStatistics(norm.running_mean[None], norm.running_var[None])  # type: ignore[index]
        (output,), statistics = normalised(
            # z = g (W d - W mu) / sqrt(var + eps) + b for each row d, with W of shape (1, C', C); see
            # pointwise_norm.py.
            [rows], stage.pointwise.weight.flatten(1)[None], norm.weight[None], norm.bias[None], norm.eps,
            statistics=given)
        if given is None:
            # Only noted: moved once, after the whole cell.
            averages.add([norm], *statistics, len(rows))
        if number < len(stages):
            # In place: the product above is new, and its own backward pass does not need its output.
            output = output.relu_()
        # (N * H * W, C') -> (N, H, W, C') -> (N, C', H, W), again channels-last without a copy.
        x = output.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)
    return x
