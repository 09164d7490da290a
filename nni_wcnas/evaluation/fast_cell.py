"""The cells of a network that is trained from scratch, faster on a CPU: what their edges share is computed once.

Inside :func:`fast_cells`, all in channels-last layout,

- a state's ``relu`` and each of its pools are computed once for all edges that leave it; a cell hands on what the next
  two would begin with, ``relu`` of its output, unless it is the last,
- a separable convolution is the depthwise kernel of ``functional/depthwise.py``; the pointwise convolution and batch
  norm after it are one product (``functional/pointwise_norm.py``),
- the two halves of a factorized reduction are cut out at once.

Drop path draws what it would have drawn, edge by edge, so the numbers are those of
:class:`~nni_wcnas.evaluation.network.CellNetwork` up to rounding, running statistics included. Weights, their names and
their modes stay where they are. Under autocast and on other devices the cells compute as they always do. Hooks on
layers inside a cell are not called.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nni_wcnas.evaluation.network import Cell, CellNetwork, DropPath
from nni_wcnas.functional.convolution import depthwise
from nni_wcnas.functional.corners import corners
from nni_wcnas.functional.pointwise_norm import BatchStatistics, normalised
from nni_wcnas.spaces.operations import FactorizedReduce
from nni_wcnas.supernet.recognition import Candidate, Identity, Other, Pool, Separable, Stage, recognise
from nni_wcnas.supernet.running_averages import RunningAverages, uses_batch

__all__ = ['fast_cells']


@contextmanager
def fast_cells(network: nn.Module) -> Iterator[None]:
    """Let the cells of a network compute faster inside the context; nothing happens to a network without.

    Parameters
    ----------
    network
        A :class:`nni_wcnas.evaluation.network.CellNetwork`, or anything that holds some.
    """
    networks = [module for module in network.modules() if isinstance(module, CellNetwork)]
    cells = [cell for module in networks for cell in module.cells]
    hooks = [module.register_forward_pre_hook(_channels_last) for module in networks]
    for module in networks:
        for index, cell in enumerate(module.cells):
            fast = _FastCell(cell, index, is_last=index == len(module.cells) - 1)  # type: ignore[arg-type]
            cell.forward = fast
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for cell in cells:
            del cell.forward


def _applies(images: Tensor) -> bool:
    """Whether there is something to gain."""
    return images.device.type == 'cpu' and not torch.is_autocast_enabled('cpu')


def _channels_last(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """The layout of the images becomes that of all maps."""
    del module  # Unused: the signature is torch's.
    (images,) = inputs
    return (images.contiguous(memory_format=torch.channels_last) if _applies(images) else images,)


class _Edge(NamedTuple):
    node: int
    source: int
    operation: nn.Module
    candidate: Candidate
    drop_path: DropPath | None


class _FastCell:
    """The forward pass of one cell.

    Parameters
    ----------
    cell
        Whose weights to use.
    index
        Of the cell in its network: what the first two get from the stem is not rectified.
    is_last
        Whether the output goes to the classifier, which wants it as it is.
    """

    def __init__(self, cell: Cell, index: int, *, is_last: bool) -> None:
        self.cell, self.is_last = cell, is_last
        self.plain = cell.forward
        self.is_rectified = index > 1, index > 0
        sources = [(node, source) for node, group in enumerate(cell.sources) for source in group]
        self.edges = []
        for (node, source), edge in zip(sources, cell.edges, strict=True):
            operation, drop = tuple(edge) if isinstance(edge, nn.Sequential) else (edge, None)
            self.edges.append(_Edge(node, source, operation, recognise(operation), drop))  # type: ignore[arg-type]
        norms = [stage.norm for edge in self.edges if isinstance(edge.candidate, Separable)
                 for stage in edge.candidate.stages]
        self.momentum = norms[0].momentum or 0.0 if norms else 0.0

    def __call__(self, before: Tensor, last: Tensor) -> Tensor:
        """As the cell's own, between cells that hand on what is rectified."""
        if not _applies(before):
            return self.plain(before, last)
        cell = self.cell
        first, second = (x if done else F.relu(x) for x, done in zip((before, last), self.is_rectified))
        states = [_preprocess(cell.preprocess_before, first), _preprocess(cell.preprocess_last, second)]
        masks = [_mask(edge.drop_path, states[0]) for edge in self.edges]  # In the order in which they are drawn.
        averages = RunningAverages(self.momentum)
        outputs: dict[int, Tensor] = {}
        rectified: list[Tensor] = []
        for number in range(2 + len(cell.sources)):
            if number >= 2:
                entering = [i for i, edge in enumerate(self.edges) if edge.node == number - 2]
                states.append(_sum([(outputs.pop(i), masks[i]) for i in entering]))
            rectified.append(F.relu(states[number]))
            leaving = {i: edge for i, edge in enumerate(self.edges) if edge.source == number}
            outputs.update(zip(leaving, _leave(states[number], rectified[number], leaving.values(), averages)))
        averages.update()
        handed = states if self.is_last else rectified
        return torch.cat([handed[2 + node] for node in cell.outputs], dim=1)


def _preprocess(module: nn.Module, rectified: Tensor) -> Tensor:
    """What a ReLUConvNorm or FactorizedReduce gives, after its ReLU."""
    if isinstance(module, FactorizedReduce):
        return _reduced(module, rectified)
    _, *layers = module.children()
    return nn.Sequential(*layers)(rectified)


def _reduced(module: FactorizedReduce, rectified: Tensor) -> Tensor:
    """What a FactorizedReduce gives, after its ReLU; an odd size is left to it, as a second ReLU changes nothing."""
    if rectified.shape[2] % 2 or rectified.shape[3] % 2:
        return module(rectified)
    even, odd = corners(rectified, (0, 1))
    return module.norm(torch.cat([module.conv_even(even), module.conv_odd(odd)], dim=1))


def _mask(drop_path: DropPath | None, like: Tensor) -> Tensor | None:
    """What drop path multiplies by, shape ``(N, 1, 1, 1)``."""
    if drop_path is None or not drop_path.training or (drop_path.keep is None and drop_path.probability == 0):
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


def _leave(state: Tensor, rectified: Tensor, edges: Iterable[_Edge], averages: RunningAverages) -> list[Tensor]:
    """The operations that leave a state."""
    pools: dict[Hashable, Tensor] = {}
    outputs = []
    for edge in edges:
        match edge.candidate:
            case Identity():
                outputs.append(state)
            case Separable(stages):
                outputs.append(_separable(rectified, stages, averages))
            case Pool(pool, None) as shared:
                if shared.key not in pools:
                    pools[shared.key] = pool(state)
                outputs.append(pools[shared.key])
            case Other(FactorizedReduce() as module):
                outputs.append(_reduced(module, rectified))
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
            averages.add([norm], *statistics, len(rows))
        if number < len(stages):
            output = output.relu_()
        x = output.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)
    return x
