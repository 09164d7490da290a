"""The DARTS space as the papers search it, made of NNI's own primitives."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from nni.mutable import Sample
from nni.nas.nn.pytorch import Cell, ModelSpace, model_context
from torch import Tensor, nn

from nni_wcnas.spaces.operations import OPERATIONS, FactorizedReduce, ReLUConvNorm, build_operation

__all__ = ['DARTS']


class DARTS(ModelSpace):
    """Cells of 4 nodes with 2 inputs each and 8 candidate operations, an explicit ``'none'`` among them.

    Unlike NNI's hub space of the same name: batch norms without affine parameters and behind the pools (the official
    search network), 'none' as one of the operations instead of a hidden logit, any number of classes, any subset of
    operations.

    Parameters
    ----------
    width
        Channels of the first cell's operations; doubled at each of the two reductions.
    num_cells
        Depth; cells ``num_cells // 3`` and ``2 * num_cells // 3`` reduce the resolution.
    num_classes
        Size of the output.
    operations
        Candidates, in the order of the columns of the architecture matrix.
    num_nodes
        Intermediate nodes of a cell.
    stem_multiplier
        Channels of the stem in multiples of ``width``.

    Examples
    --------
    >>> space = DARTS(width=4, num_cells=3, num_classes=7)
    >>> len(space.simplify())
    32

    References
    ----------
    Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, section 3.1.1.
    """

    def __init__(
        self,
        width: int = 16,
        num_cells: int = 8,
        num_classes: int = 10,
        operations: Sequence[str] = tuple(OPERATIONS),
        num_nodes: int = 4,
        stem_multiplier: int = 3,
    ) -> None:
        super().__init__()
        _check(width, num_cells, num_classes, operations, num_nodes)
        self._arguments: dict[str, Any] = {
            'width': width,
            'num_cells': num_cells,
            'num_classes': num_classes,
            'operations': tuple(operations),
            'num_nodes': num_nodes,
            'stem_multiplier': stem_multiplier,
        }
        stem = stem_multiplier * width
        self.stem = nn.Sequential(nn.Conv2d(3, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem))
        self.cells = nn.ModuleList()
        before_previous = previous = stem
        channels, previous_reduces = width, False
        for index in range(num_cells):
            reduces = index in (num_cells // 3, 2 * num_cells // 3)
            channels *= 1 + reduces
            self.cells.append(
                self._cell(operations, num_nodes, before_previous, previous, channels, reduces, previous_reduces)
            )
            before_previous, previous, previous_reduces = previous, channels * num_nodes, reduces
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(previous, num_classes)

    @staticmethod
    def _cell(
        operations: Sequence[str],
        num_nodes: int,
        before_previous: int,
        previous: int,
        channels: int,
        reduces: bool,
        previous_reduces: bool,
    ) -> Cell:
        factories = {
            name: partial(_edge_operation, name=name, channels=channels, reduces=reduces) for name in operations
        }
        return Cell(
            factories,
            num_nodes,
            num_ops_per_node=2,
            num_predecessors=2,
            merge_op='all',
            preprocessor=_Preprocessor(before_previous, previous, channels, previous_reduces),
            postprocessor=_Chain(),
            label='reduce' if reduces else 'normal',
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape ``(N, num_classes)`` for images of shape ``(N, 3, H, W)``."""
        states = [self.stem(images)] * 2
        for cell in self.cells:
            states = cell(states)
        return self.classifier(self.pool(states[-1]).flatten(1))

    def freeze(self, sample: Sample) -> DARTS:
        """The network of one architecture, built anew: fresh weights, also when this space has become a supernet."""
        with model_context(sample):
            return DARTS(**self._arguments)


def _check(width: int, num_cells: int, num_classes: int, operations: Sequence[str], num_nodes: int) -> None:
    unknown = [name for name in operations if name not in OPERATIONS]
    if unknown:
        raise ValueError(f'operations: {unknown[0]!r} is not one of {", ".join(OPERATIONS)}')
    if len(set(operations)) != len(operations) or not set(operations) - {'none'}:
        raise ValueError(f'operations must be distinct and hold at least one besides none, not {list(operations)}')
    if width < 2 or width % 2:
        raise ValueError(
            f'width must be an even number of channels (a skip that reduces splits them in two), not {width}'
        )
    if num_cells < 3:
        raise ValueError(f'num_cells must be at least 3 (two of them reduce the resolution), not {num_cells}')
    if num_classes < 2 or num_nodes < 1:
        raise ValueError(f'num_classes must be at least 2 and num_nodes at least 1, not {num_classes} and {num_nodes}')


def _edge_operation(
    node_index: int, op_index: int, input_index: int | None, *, name: str, channels: int, reduces: bool
) -> nn.Module:
    """A candidate on the edge from state ``input_index``; NNI passes None before the input is chosen."""
    del node_index, op_index  # Unused: an operation depends on where its input comes from only.
    stride = 2 if reduces and (input_index is None or input_index < 2) else 1
    return build_operation(name, channels, stride, affine=False, pool_norm=True)


class _Preprocessor(nn.Module):
    """Bring both inputs of a cell to its width and resolution."""

    def __init__(self, before_previous: int, previous: int, channels: int, previous_reduces: bool) -> None:
        super().__init__()
        self.before_previous: nn.Module
        if previous_reduces:
            self.before_previous = FactorizedReduce(before_previous, channels, affine=False)
        else:
            self.before_previous = ReLUConvNorm(before_previous, channels, affine=False)
        self.previous = ReLUConvNorm(previous, channels, affine=False)

    def forward(self, states: list[Tensor]) -> list[Tensor]:
        return [self.before_previous(states[0]), self.previous(states[1])]


class _Chain(nn.Module):
    """A cell passes on its second input and its output: the two inputs of the next."""

    def forward(self, output: Tensor, inputs: list[Any]) -> list[Tensor]:
        return [inputs[-1], output]
