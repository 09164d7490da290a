"""The architecture strings of NAS-Bench-201, ``'|nor_conv_3x3~0|+|skip_connect~0|none~1|+|...|'``, both ways.

Nodes are joined by ``+``; a node is its edges, ``operation~source``, between bars, ordered by source state.

References
----------
Dong, Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nni_wcnas.nearest_name import nearest_name
from nni_wcnas.spaces.candidates import DENSE_NODES, dense_labels
from nni_wcnas.spaces.operations import BENCHMARK_PRIMITIVES

__all__ = ['from_hub', 'from_string', 'to_string']

_HUB_OPERATIONS = {'conv_1x1': 'nor_conv_1x1', 'conv_3x3': 'nor_conv_3x3'}
"""The benchmark's names of operations that NNI's hub calls otherwise, by the hub's name."""


def to_string(sample: Mapping[str, Any]) -> str:
    """Write an architecture as the benchmark does.

    Parameters
    ----------
    sample
        Operation by label of the edge, such as ``'cell/2_0'`` for the edge from state 0 to state 2.

    Raises
    ------
    ValueError
        If an edge is missing, or its operation is not one of the benchmark's.
    """
    operations: list[str] = []
    for label in dense_labels():
        if label not in sample:
            raise ValueError(f'{label} is missing; give the operation of each of the edges {", ".join(dense_labels())}')
        operations.append(_known(sample[label], label))
    # Labels and the string list edges in the same order: by node, then by source.
    edges = iter(operations)
    nodes = range(1, DENSE_NODES + 1)
    return '+'.join('|' + ''.join(f'{next(edges)}~{source}|' for source in range(node)) for node in nodes)


def from_string(text: str) -> dict[str, str]:
    """Read an architecture of the benchmark.

    Returns
    -------
    The sample: the operation of each edge, by its label.

    Raises
    ------
    ValueError
        If the text is no architecture of the benchmark; the message names the part that cannot be read.

    Examples
    --------
    >>> text = '|none~0|+|nor_conv_3x3~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|'
    >>> from_string(text)['cell/2_1']
    'skip_connect'
    >>> to_string(from_string(text)) == text
    True
    """
    return dict(zip(dense_labels(), _edges(text)))


def from_hub(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Read a sample of NNI's hub space ``NasBench201``, whose edge from state 0 to state 2 is ``'cell/0_2'``.

    Returns
    -------
    The sample as :func:`to_string` takes it; missing edges stay missing.

    Examples
    --------
    >>> from_hub({'cell/0_2': 'conv_3x3', 'cell/1_2': 'none'})
    {'cell/2_0': 'nor_conv_3x3', 'cell/2_1': 'none'}
    """
    # 'cell/2_0' here is 'cell/0_2' in the hub: the last three characters are target, bar and source, one digit each.
    hub = {label: f'{label[:-3]}{label[-1]}_{label[-3]}' for label in dense_labels()}
    return {label: _HUB_OPERATIONS.get(sample[name], sample[name]) for label, name in hub.items() if name in sample}


def _edges(text: str) -> Iterator[str]:
    """Yield the operations of an architecture string, in the order of its edges."""
    nodes = text.strip().split('+')
    if len(nodes) != DENSE_NODES:
        raise ValueError(f'{text!r} has {len(nodes)} nodes, joined by +, but a cell has {DENSE_NODES}; give them all')
    for number, node in enumerate(nodes, start=1):
        parts = node.split('|')
        # A node that begins and ends with a bar splits into an empty part at each end, and its edges between them.
        if len(parts) < 2 or parts[0] or parts[-1]:
            raise ValueError(f'node {node!r} does not begin and end with a bar; write it as |operation~source|')
        if len(parts) - 2 != number:
            raise ValueError(f'node {node!r} has {len(parts) - 2} edges, but it is number {number}; give it {number}')
        for source, part in enumerate(parts[1:-1]):
            operation, _, state = part.partition('~')
            if state != str(source):
                raise ValueError(f'edge {part!r} of node {node!r} is not from state {source}; end it with ~{source}')
            yield _known(operation, f'edge {part!r}')


def _known(operation: Any, place: str) -> str:
    """Return the name of an operation of the benchmark; refuse any other, with the place where it stands."""
    if operation not in BENCHMARK_PRIMITIVES:
        nearest = nearest_name(operation, BENCHMARK_PRIMITIVES)
        raise ValueError(f'{place} has operation {operation!r}: did you mean {nearest!r}?')
    return str(operation)
