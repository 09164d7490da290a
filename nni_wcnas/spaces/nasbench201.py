"""The NAS-Bench-201 space: one dense cell of four states, an operation on each edge, in the benchmark's own skeleton.

References
----------
Dong, Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from nni.mutable import Sample, label_scope
from nni.nas.nn.pytorch import LayerChoice, ModelSpace, MutableModule, model_context
from nni.nas.space import current_model
from torch import Tensor, nn

from nni_wcnas.errors import InvalidArgument
from nni_wcnas.spaces.architecture_string import from_string, to_string
from nni_wcnas.spaces.candidates import DENSE_LABEL, DENSE_NODES
from nni_wcnas.spaces.operations import BENCHMARK_PRIMITIVES, OPERATIONS, ReLUConvNorm, build_operation

__all__ = ['DenseCell', 'NASBench201', 'from_string', 'to_string']


class DenseCell(MutableModule):
    """A cell in which each state is the sum of one operation on every earlier state; the last state is the output.

    Parameters
    ----------
    factories
        Factories by operation: each builds its module from ``(node_index, op_index, input_index)``.
    num_nodes
        Number of states beside the input.
    label
        Cells of one label share their choices: ``'<label>/<target>_<source>'`` is an edge.
    """

    def __init__(self, factories: dict[str, Any], num_nodes: int = DENSE_NODES, label: str = DENSE_LABEL) -> None:
        super().__init__()
        self.factories, self.num_nodes = factories, num_nodes
        self.ops = nn.ModuleList()
        # Labels of all cells are equal, so that NNI makes one choice for an edge of all of them.
        with label_scope(label) as self.label_scope:
            for target in range(1, num_nodes + 1):
                self.ops.append(nn.ModuleList(self._choice(target, source) for source in range(target)))

    def _choice(self, target: int, source: int) -> nn.Module:
        """Build an edge: a choice, or the chosen operation itself where NNI has an architecture at hand."""
        candidates = {name: factory(target, 0, source) for name, factory in self.factories.items()}
        return LayerChoice(candidates, label=f'{target}_{source}')

    @property
    def label(self) -> str:
        """Name that the cells of one type share, and with it their choices."""
        return self.label_scope.name

    def forward(self, state: Tensor) -> Tensor:
        """Return the last state for an input of shape ``(N, C, H, W)``, in the same shape."""
        states = [state]
        for edges in self.ops:
            # zip ends with the edges: the k-th node has k of them, one for each state before it.
            outputs = [edge(state) for edge, state in zip(edges, states)]  # type: ignore[call-overload]
            states.append(sum(outputs[1:], outputs[0]))
        return states[-1]


class NASBench201(ModelSpace):
    """The benchmark's network: a stem, three stages of equal cells, a residual block of stride 2 between two stages.

    The candidates' batch norms have scale and shift in a network of one architecture, as in the benchmark, and have
    none in the search, as in the official search networks. NNI's hub space of this name is ``hub_nasbench201``.

    Parameters
    ----------
    width
        Channels of the first stage; doubled at each residual block.
    num_cells
        Number of cells in each of the three stages.
    num_classes
        Number of classes, the size of the output.
    operations
        Candidate operations, in the order of the columns of the architecture matrix.

    Examples
    --------
    >>> space = NASBench201(width=4, num_cells=1)
    >>> sorted(space.simplify())
    ['cell/1_0', 'cell/2_0', 'cell/2_1', 'cell/3_0', 'cell/3_1', 'cell/3_2']
    """

    def __init__(
        self,
        width: int = 16,
        num_cells: int = 5,
        num_classes: int = 10,
        operations: Sequence[str] = BENCHMARK_PRIMITIVES,
    ) -> None:
        super().__init__()
        _check(width, num_cells, num_classes, operations)
        self.operations = tuple(operations)
        self._arguments: dict[str, Any] = {
            'width': width,
            'num_cells': num_cells,
            'num_classes': num_classes,
            'operations': self.operations,
        }
        # freeze builds the space in the context of an architecture; the search builds it without.
        is_frozen = current_model() is not None
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.cells = nn.ModuleList()
        for stage in range(3):
            # 16, 32 and 64 channels in the benchmark.
            channels = width * 2**stage
            if stage > 0:
                self.cells.append(_Residual(channels // 2, channels))
            factories = {
                name: partial(_edge_operation, name=name, channels=channels, affine=is_frozen) for name in operations
            }
            self.cells.extend(DenseCell(factories) for _ in range(num_cells))
        self.last = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of shape ``(N, num_classes)`` for images of shape ``(N, 3, H, W)``."""
        state = self.stem(images)
        for cell in self.cells:
            state = cell(state)
        return self.classifier(self.last(state).flatten(1))

    def freeze(self, sample: Sample) -> NASBench201:
        """Return the network of one architecture, built anew: with fresh weights, also when this is now a supernet."""
        # Within the context NNI's choices build what the sample says, so the constructor gives a plain network.
        with model_context(sample):
            return NASBench201(**self._arguments)


def _check(width: int, num_cells: int, num_classes: int, operations: Sequence[str]) -> None:
    """Refuse arguments of the space that are out of range or unknown."""
    unknown = [name for name in operations if name not in OPERATIONS]
    if unknown:
        raise InvalidArgument('operations', unknown[0], f'hold only {", ".join(OPERATIONS)}')
    if len(set(operations)) != len(operations) or not set(operations) - {'none'}:
        raise InvalidArgument('operations', list(operations), 'be distinct and hold at least one besides none')
    for name, value, least in (('width', width, 1), ('num_cells', num_cells, 1), ('num_classes', num_classes, 2)):
        if value < least:
            raise InvalidArgument(name, value, f'be at least {least}')


def _edge_operation(
    node_index: int, op_index: int, input_index: int | None, *, name: str, channels: int, affine: bool
) -> nn.Module:
    """Build a candidate, which is the same on each edge."""
    del node_index, op_index, input_index  # Unused.
    return build_operation(name, channels, affine=affine)


class _Residual(nn.Module):
    """A residual block that halves the size: two convolutions beside an average pool and a pointwise convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            ReLUConvNorm(in_channels, out_channels, 3, stride=2, padding=1),
            ReLUConvNorm(out_channels, out_channels, 3, padding=1),
        )
        self.shortcut = nn.Sequential(
            # Rounds up, as the strided convolution beside it does at odd sizes.
            nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(in_channels, out_channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.block(x)
