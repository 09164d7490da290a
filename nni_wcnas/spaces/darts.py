"""The DARTS space as the papers search it, made of NNI's own primitives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from nni.mutable import Sample
from nni.nas.nn.pytorch import Cell, LayerChoice, ModelSpace, model_context
from torch import Tensor, nn

from nni_wcnas.contracts import CellLayout, Edge
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.spaces.candidates import restrictions
from nni_wcnas.spaces.operations import OPERATIONS, PRIMITIVES, FactorizedReduce, ReLUConvNorm, build_operation
from nni_wcnas.spaces.stem import build_stem
from nni_wcnas.spaces.views import VIEW_LABEL, check_views

__all__ = ['DARTS']


class DARTS(ModelSpace):
    """Cells of 4 nodes with 2 inputs each and 8 candidate operations, an explicit ``'none'`` among them.

    Unlike NNI's hub space of the same name: batch norms without affine parameters and behind the pools (the official
    search network), 'none' as one of the operations or not at all instead of a hidden logit, any number of classes, any
    operations.

    Parameters
    ----------
    width
        Channels of the first cell's operations; doubled at each of the two reductions.
    num_cells
        Number of cells, the depth of the network. Cells ``num_cells // 3`` and ``2 * num_cells // 3`` reduce the
        resolution.
    num_classes
        Number of classes, the size of the output.
    operations
        Candidate operations, in the order of the columns of the architecture matrix.
    num_nodes
        Intermediate nodes of a cell.
    stem_multiplier
        Channels of the stem in multiples of ``width``.
    stem
        ``'cifar'``: one convolution; ``'imagenet'``: three of stride 2, the first cell sees the outputs of the second
        and of the third, at an eighth of the image's size.
    allowed
        For ``'normal'``, ``'reduce'`` or both: the operations that each edge may have, edges ordered by node and source
        state. The others are pruned before the search. None allows all on each edge.
    views
        What the network may see of its images: the search takes one of these views, each with a stem of its own, by
        name in :data:`~nni_wcnas.spaces.views.VIEWS`. None for one stem that sees the images as they are.

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
        operations: Sequence[str] = PRIMITIVES,
        num_nodes: int = 4,
        stem_multiplier: int = 3,
        stem: Literal['cifar', 'imagenet'] = 'cifar',
        allowed: Mapping[str, Sequence[Sequence[str]]] | None = None,
        views: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        _check(width, num_cells, num_classes, operations, num_nodes)
        _check_stem(stem, views)
        self.operations = tuple(operations)
        self.allowed = {label: tuple(tuple(names) for names in rows) for label, rows in (allowed or {}).items()}
        self._layout = CellLayout(self.operations, num_nodes=num_nodes)
        _check_allowed(self.allowed, self._layout)
        # Kept to build the space again, frozen or at another depth: a supernet has no choices left to freeze.
        self._arguments: dict[str, Any] = {
            'width': width,
            'num_cells': num_cells,
            'num_classes': num_classes,
            'operations': tuple(operations),
            'num_nodes': num_nodes,
            'stem_multiplier': stem_multiplier,
            'stem': stem,
            'allowed': self.allowed or None,
            'views': None if views is None else tuple(views),
        }
        # Widths of the outputs of the two cells before: of the stem, at the start.
        before_previous = previous = stem_multiplier * width
        self.stem, self.second_stem = build_stem(stem, previous)
        if views is not None:
            # A stem for each view, whose first convolution learns for what it sees.
            self.stem = LayerChoice({view: build_stem(stem, previous, view)[0] for view in views}, label=VIEW_LABEL)
        self.cells = nn.ModuleList()
        # The second input of the first cell has half the resolution of the first one after ImageNet's stem, as after a
        # reduction.
        channels, previous_reduces = width, stem == 'imagenet'
        for index in range(num_cells):
            reduces = index in (num_cells // 3, 2 * num_cells // 3)
            # A bool counts as 0 or 1: doubled where the resolution is halved.
            channels *= 1 + reduces
            self.cells.append(
                self._cell(operations, num_nodes, before_previous, previous, channels, reduces, previous_reduces)
            )
            # The output of a cell is the concatenation of its nodes.
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
        # Partial functions with a keyword ``channels``, which partial-channel cells read and divide.
        factories = {
            name: partial(_edge_operation, name=name, channels=channels, reduces=reduces) for name in operations
        }
        cell = Cell(
            factories,
            num_nodes,
            num_ops_per_node=2,
            num_predecessors=2,
            merge_op='all',
            preprocessor=_Preprocessor(before_previous, previous, channels, previous_reduces),
            postprocessor=_Chain(),
            label='reduce' if reduces else 'normal',
        )
        cell.hidden_none = False  # What RelaxedCell reads: without 'none' among the operations there is none.
        return cell

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of shape ``(N, num_classes)`` for images of shape ``(N, 3, H, W)``."""
        first = self.stem(images)
        states = [first, self.second_stem(first)]
        for cell in self.cells:
            states = cell(states)
        return self.classifier(self.pool(states[-1]).flatten(1))

    def restrictions(self) -> dict[str, set[tuple[int, int]]]:
        """Return the candidates (row, column) that ``allowed`` forbids, by label of the cell."""
        return restrictions(self.allowed, self.operations)

    def freeze(self, sample: Sample) -> DARTS:
        """Return the network of one architecture, built anew: with fresh weights, also when this is now a supernet.

        Raises
        ------
        ValueError
            If the sample has an operation on an edge that may not have it.
        """
        for label, rows in self.allowed.items():
            _check_sample(sample, label, self._layout, rows)
        # Within the context NNI's choices build what the sample says, so the constructor gives a plain network.
        with model_context(sample):
            return DARTS(**self._arguments)


def _check(width: int, num_cells: int, num_classes: int, operations: Sequence[str], num_nodes: int) -> None:
    """Refuse arguments of the space that are out of range or unknown."""
    unknown = [name for name in operations if name not in OPERATIONS]
    if unknown:
        raise InvalidArgument('operations', unknown[0], f'hold only {", ".join(OPERATIONS)}')
    if len(set(operations)) != len(operations) or not set(operations) - {'none'}:
        raise InvalidArgument('operations', list(operations), 'be distinct and hold at least one besides none')
    if width < 2 or width % 2:
        raise InvalidArgument('width', width, 'be an even number of channels (a skip that reduces splits them in two)')
    if num_cells < 3:
        raise InvalidArgument('num_cells', num_cells, 'be at least 3 (two of them reduce the resolution)')
    if num_classes < 2:
        raise InvalidArgument('num_classes', num_classes, 'be at least 2')
    if num_nodes < 1:
        raise InvalidArgument('num_nodes', num_nodes, 'be at least 1')


def _check_stem(stem: str, views: Sequence[str] | None) -> None:
    """Refuse an unknown stem or unknown views."""
    if stem not in ('cifar', 'imagenet'):
        raise InvalidArgument('stem', stem, "be 'cifar' or 'imagenet'")
    if views is not None:
        check_views(views)


def _check_allowed(allowed: Mapping[str, tuple[tuple[str, ...], ...]], layout: CellLayout) -> None:
    """Refuse a table that does not fit the cells, or leaves an edge nothing but 'none'."""
    for label, rows in allowed.items():
        if label not in ('normal', 'reduce'):
            raise ValueError(f"allowed: {label!r} is neither 'normal' nor 'reduce'")
        if len(rows) != len(layout.edges):
            raise ValueError(f'allowed: {label} has {len(rows)} edges and a cell {len(layout.edges)}; give them all')
        for edge, names in zip(layout.edges, rows):
            unknown = [name for name in names if name not in layout.operations]
            if unknown:
                raise ValueError(f'allowed: {unknown[0]!r} is not among the operations {", ".join(layout.operations)}')
            if not set(names) - {'none'}:
                raise ValueError(
                    f'allowed: the edge of {label} from state {edge.source} to {edge.target} has no operation besides '
                    'none; give it one'
                )


def _check_sample(sample: Sample, label: str, layout: CellLayout, rows: tuple[tuple[str, ...], ...]) -> None:
    """Refuse a sample with an operation on an edge of one cell that ``rows`` does not allow there."""
    for target in range(layout.num_predecessors, layout.num_predecessors + layout.num_nodes):
        for k in range(layout.num_ops_per_node):
            operation, (source,) = sample[f'{label}/op_{target}_{k}'], sample[f'{label}/input_{target}_{k}']
            names = rows[layout.edges.index(Edge(source, target))]
            if operation not in names:
                raise ValueError(
                    f'{label}/op_{target}_{k} is {operation!r}, but the edge from state {source} to {target} has '
                    f'{" or ".join(names)}; take one of them'
                )


def _edge_operation(
    node_index: int, op_index: int, input_index: int | None, *, name: str, channels: int, reduces: bool
) -> nn.Module:
    """Build a candidate for the edge from state ``input_index``; NNI passes None before the input is chosen."""
    del node_index, op_index  # Unused: an operation depends on where its input comes from only.
    # Only edges from the inputs of a reduction cell have stride 2; nodes are at the lower resolution already.
    stride = 2 if reduces and (input_index is None or input_index < 2) else 1
    # Without scale and shift: they would rescale what the mixing weights are to weigh (DARTS, search network).
    return build_operation(name, channels, stride, affine=False, pool_norm=True)


class _Preprocessor(nn.Module):
    """Bring both inputs of a cell, the outputs of the two cells before, to its width and resolution."""

    def __init__(self, before_previous: int, previous: int, channels: int, previous_reduces: bool) -> None:
        super().__init__()
        self.before_previous: nn.Module
        if previous_reduces:
            # The output of the cell before the last was made before that reduction: it has twice the side.
            self.before_previous = FactorizedReduce(before_previous, channels, affine=False)
        else:
            self.before_previous = ReLUConvNorm(before_previous, channels, affine=False)
        self.previous = ReLUConvNorm(previous, channels, affine=False)

    def forward(self, states: list[Tensor]) -> list[Tensor]:
        return [self.before_previous(states[0]), self.previous(states[1])]


class _Chain(nn.Module):
    """Hand on the second input and the output of a cell, which are the two inputs of the next cell."""

    def forward(self, output: Tensor, inputs: list[Any]) -> list[Tensor]:
        return [inputs[-1], output]
