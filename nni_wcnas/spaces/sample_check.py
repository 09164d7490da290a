"""Checks of the sample of an architecture made of cells; every mistake is reported as one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from nni_wcnas.contracts import CellGenotype, CellLayout, Edge
from nni_wcnas.nearest_name import nearest_name
from nni_wcnas.spaces.candidates import ALLOWED, dense_labels
from nni_wcnas.spaces.operations import OPERATIONS
from nni_wcnas.spaces.views import VIEW_LABEL, VIEWS

__all__ = ['ArchitectureError', 'check_cells', 'check_dense', 'check_keys', 'listed']

_HUB_LABELS = ('width', 'depth')  # NNI's hub may search these along with the cells.


class ArchitectureError(ValueError):
    """An architecture, or its file, is wrong. The message is one sentence: what is wrong, where, and the remedy."""


class _Sampled(Protocol):
    """What is checked of an architecture."""

    @property
    def space(self) -> str:
        """Name of the space."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Arguments of the space."""

    @property
    def operations(self) -> tuple[str, ...]:
        """Names of the candidate operations."""

    @property
    def sample(self) -> Mapping[str, Any]:
        """What was chosen, by NNI's label."""

    @property
    def num_nodes(self) -> int:
        """Number of nodes of a cell."""

    def labels(self) -> list[str]:
        """Return the labels that the sample must have."""

    def cell(self, name: str) -> CellGenotype:
        """Return the kept edges of a cell."""


def _check_candidates(architecture: _Sampled) -> None:
    """Check the names of the candidate operations."""
    if not architecture.operations:
        raise ArchitectureError('key \'operations\' is empty: list the names of the candidate operations')
    for name in architecture.operations:
        if name not in OPERATIONS:
            near = nearest_name(name, OPERATIONS)
            raise ArchitectureError(f'key \'operations\' holds {name!r}: did you mean {near!r}?')


def check_dense(architecture: _Sampled) -> None:
    """Check the sample of a dense cell, where 'none' is an operation like any other."""
    _check_candidates(architecture)
    check_keys(architecture.sample, dense_labels(), prefix='sample.')
    for label in dense_labels():
        _check_operation(architecture, label, architecture.operations)


def check_cells(architecture: _Sampled) -> None:
    """Check the sample of a cell space, and the arguments of the space that say which keys it has."""
    _check_candidates(architecture)
    for key in ('num_nodes', 'num_ops_per_node'):
        value = architecture.arguments.get(key, 1)
        # Checked before the keys are counted from them: a huge number would make as many keys.
        if type(value) is not int or not 1 <= value <= 16:
            raise ArchitectureError(f'key \'arguments.{key}\' is {value!r}: make it a whole number from 1 to 16')
    stem = architecture.arguments.get('stem', 'cifar')
    if stem not in ('cifar', 'imagenet'):
        raise ArchitectureError(f'key \'arguments.stem\' is {stem!r}: make it cifar or imagenet')
    views = architecture.arguments.get('views') or []
    for name in views:
        if name not in VIEWS:
            near = nearest_name(name, VIEWS)
            raise ArchitectureError(f'key \'arguments.views\' holds {name!r}: did you mean {near!r}?')
    labels = architecture.labels()
    others = _HUB_LABELS if architecture.space.startswith('hub_') else ()
    check_keys(architecture.sample, labels, others, prefix='sample.')
    # An explicit 'none' is never selected: an edge that is kept has an operation.
    candidates = [name for name in architecture.operations if name != 'none']
    if views:
        labels.remove(VIEW_LABEL)
        _check_operation(architecture, VIEW_LABEL, views)
    for label in labels:
        # 'normal/op_2_0': the kind, the target state, and which of its kept edges.
        kind, node = label.split('/')[1].split('_')[:2]
        if kind == 'op':
            _check_operation(architecture, label, candidates)
        else:
            _check_source(architecture.sample[label], int(node), label)
    if architecture.space in ALLOWED:
        _check_restrictions(architecture)


def _check_restrictions(architecture: _Sampled) -> None:
    """Check that each edge has an operation that the space allows there."""
    # The tables have a row for each edge of a cell of the usual 4 nodes.
    space, layout = architecture.space, CellLayout(architecture.operations)
    if architecture.num_nodes != layout.num_nodes:
        raise ArchitectureError(f'key \'arguments.num_nodes\' is {architecture.num_nodes}, but cells of {space} have '
                                f'{layout.num_nodes} nodes: leave it out')
    for name, rows in ALLOWED[space].items():
        # The row of an edge is its place among all edges, whichever of them the cell keeps.
        for target, choices in enumerate(architecture.cell(name), start=layout.num_predecessors):
            for k, choice in enumerate(choices):
                allowed = rows[layout.edges.index(Edge(choice.source, target))]
                if choice.operation not in allowed:
                    raise ArchitectureError(
                        f'key \'sample.{name}/op_{target}_{k}\' is {choice.operation!r}, which {space} does not allow '
                        f'from state {choice.source}: take {" or ".join(map(repr, allowed))}')


def _check_operation(architecture: _Sampled, label: str, candidates: Iterable[str]) -> None:
    """Check the operation of one edge."""
    name = architecture.sample[label]
    if name not in candidates:
        raise ArchitectureError(
            f'key \'sample.{label}\' is {name!r}: did you mean {nearest_name(name, candidates)!r}? '
            f'Candidates are {listed(candidates)}')


def _check_source(value: Any, node: int, label: str) -> None:
    """Check the source of one edge into state ``node``: NNI exports a list of one index."""
    if not isinstance(value, list) or len(value) != 1 or type(value[0]) is not int or not 0 <= value[0] < node:
        raise ArchitectureError(f'key \'sample.{label}\' is {value!r}: give a list of one state from 0 to {node - 1}')


def check_keys(document: Mapping[str, Any], required: Iterable[str], optional: Iterable[str] = (), *,
                prefix: str = '') -> None:
    """Refuse a missing key, and one that is neither required nor optional; messages put ``prefix`` before keys."""
    required, optional = list(required), list(optional)
    for key in required:
        if key not in document:
            raise ArchitectureError(f'key \'{prefix}{key}\' is missing: take the file of a finished search, or add it')
    for key in document:
        if key not in required and key not in optional:
            near = nearest_name(key, required + optional)
            raise ArchitectureError(f'key \'{prefix}{key}\' is unknown: remove it, or did you mean {near!r}?')


def listed(names: Iterable[str]) -> str:
    """Return names as a sentence lists them: quoted, with commas between."""
    return ', '.join(repr(name) for name in names)
