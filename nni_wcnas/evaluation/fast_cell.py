"""The cells of a network that is trained from scratch, faster on a CPU: what their edges share is computed once.

Inside :func:`fast_cells` a cell computes from each state, once for all edges that leave it, ``relu`` and each pool, in
channels-last layout. A separable convolution is the depthwise kernel of ``functional/depthwise.py``; the pointwise
convolution and batch norm after it are one product (``functional/pointwise_norm.py``). Drop path draws what it would
have drawn, edge by edge, so the numbers are those of :class:`~nni_wcnas.evaluation.network.CellNetwork` up to rounding,
running statistics included. Weights, their names and their modes stay where they are. Elsewhere than on a CPU in
float32 or float64 the cells compute as they always do. Hooks on layers inside an operation are not called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nni_wcnas.evaluation.network import Cell, DropPath
from nni_wcnas.functional.depthwise import depthwise
from nni_wcnas.functional.pointwise_norm import BatchStatistics, normalised
from nni_wcnas.supernet.recognition import Candidate, Identity, Pool, Separable, Stage, recognise
from nni_wcnas.supernet.running_averages import RunningAverages, uses_batch

__all__ = ['fast_cells']


@contextmanager
def fast_cells(network: nn.Module) -> Iterator[None]:
    """Let the cells of a network compute faster inside the context; nothing happens to a network without.

    Parameters
    ----------
    network
        E.g. a :class:`nni_wcnas.evaluation.network.CellNetwork`.
    """
    cells = [module for module in network.modules() if isinstance(module, Cell)]
    for cell in cells:
        cell.forward = _FastCell(cell)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for cell in cells:
            del cell.forward


class _Edge(NamedTuple):
    node: int
    source: int
    operation: nn.Module
    candidate: Candidate
    drop_path: DropPath | None


class _FastCell:
    """The forward pass of one cell."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.plain = cell.forward
        sources = [(node, source) for node, group in enumerate(cell.sources) for source in group]
        self.edges = []
        for (node, source), edge in zip(sources, cell.edges, strict=True):
            operation, drop = tuple(edge) if isinstance(edge, nn.Sequential) else (edge, None)
            self.edges.append(_Edge(node, source, operation, recognise(operation), drop))  # type: ignore[arg-type]
        norms = [stage.norm for edge in self.edges if isinstance(edge.candidate, Separable)
                 for stage in edge.candidate.stages]
        self.norm = norms[0] if norms else None

    def __call__(self, before: Tensor, last: Tensor) -> Tensor:
        """As the cell's own."""
        if before.device.type != 'cpu' or torch.is_autocast_enabled('cpu'):
            return self.plain(before, last)
        cell = self.cell
        before, last = (x.contiguous(memory_format=torch.channels_last) for x in (before, last))
        states = [cell.preprocess_before(before), cell.preprocess_last(last)]
        masks = [_mask(edge.drop_path, states[0]) for edge in self.edges]  # In the order in which they are drawn.
        averages = RunningAverages(self.norm.momentum or 0.0 if self.norm is not None else 0.0)
        outputs: list[Tensor] = [states[0]] * len(self.edges)
        for number in range(2 + len(cell.sources)):
            if number >= 2:
                entering = [(outputs[i], masks[i]) for i, edge in enumerate(self.edges) if edge.node == number - 2]
                states.append(_sum(entering))
            leaving = [i for i, edge in enumerate(self.edges) if edge.source == number]
            for i, output in zip(leaving, _leave(states[number], [self.edges[i] for i in leaving], averages)):
                outputs[i] = output
        averages.update()
        return torch.cat([states[2 + node] for node in cell.outputs], dim=1)


def _mask(drop_path: DropPath | None, like: Tensor) -> Tensor | None:
    """What drop path multiplies by, shape ``(N, 1, 1, 1)``."""
    if drop_path is None or not drop_path.training or drop_path.probability == 0:
        return None
    return drop_path(like.new_ones(len(like), 1, 1, 1))


def _sum(terms: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
    """Add what enters a node."""
    (total, mask), *others = terms
    if mask is not None:
        total = total * mask
    for output, mask in others:
        total = total + output if mask is None else torch.addcmul(total, output, mask)
    return total


def _leave(state: Tensor, edges: Sequence[_Edge], averages: RunningAverages) -> list[Tensor]:
    """The operations that leave a state."""
    relu = F.relu(state) if any(isinstance(edge.candidate, Separable) for edge in edges) else state
    pools: dict[object, Tensor] = {}
    outputs = []
    for edge in edges:
        match edge.candidate:
            case Identity():
                outputs.append(state)
            case Separable(stages):
                outputs.append(_separable(relu, stages, averages))
            case Pool(pool, None) as shared:
                if shared.key not in pools:
                    pools[shared.key] = pool(state)
                outputs.append(pools[shared.key])
            case _:
                outputs.append(edge.operation(state))
    return outputs


def _separable(x: Tensor, stages: Sequence[Stage], averages: RunningAverages) -> Tensor:
    """Depthwise convolution, then pointwise convolution and norm in one product; with a ReLU between the stages."""
    for number, stage in enumerate(stages, 1):
        conv, norm = stage.depthwise, stage.norm
        x = depthwise(x, conv.weight, stride=conv.stride[0], padding=int(conv.padding[0]), dilation=conv.dilation[0])
        rows = x.permute(0, 2, 3, 1).flatten(0, 2)  # (N * H * W, C); a view in channels-last.
        given = None
        if not uses_batch(norm):
            given = BatchStatistics(norm.running_mean[None], norm.running_var[None])  # type: ignore[index]
        (output,), statistics = normalised(
            [rows], stage.pointwise.weight.flatten(1)[None], norm.weight[None], norm.bias[None], norm.eps,
            statistics=given)
        if given is None:
            averages.add(norm, statistics.mean[0], statistics.variance[0], len(rows))
        if number < len(stages):
            output = output.relu_()
        x = output.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)
    return x
