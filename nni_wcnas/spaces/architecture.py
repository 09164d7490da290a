"""An architecture that a search found, and the file that keeps it.

The file is JSON: ``version``, ``space``, ``operations`` (candidates of the space), ``sample`` (NNI's export: operation
and input of each kept edge), ``arguments`` (of the space, where they are not the defaults) and ``provenance`` (seed,
settings, versions: free, never read back into a model). Everything but the provenance is checked, when an
:class:`Architecture` is made and when a file is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nni_wcnas.atomic import write_atomically
from nni_wcnas.contracts import CellGenotype, Choice
from nni_wcnas.nearest_name import nearest_name
from nni_wcnas.spaces.architecture_string import from_hub, to_string
from nni_wcnas.spaces.candidates import ALLOWED, DENSE_LABEL, DENSE_NODES
from nni_wcnas.spaces.operations import PRIMITIVES
from nni_wcnas.spaces.sample_check import ArchitectureError, check_cells, check_dense, check_keys, listed
from nni_wcnas.spaces.views import VIEW_LABEL

__all__ = [
    'BENCHMARK_SPACES', 'CELLS', 'CELL_SPACES', 'DENSE_SPACES', 'OWN_CELL_SPACES', 'SPACES', 'SPACES_WITH_CELLS',
    'VERSION', 'Architecture', 'ArchitectureError', 'load_architecture', 'save_architecture',
]

VERSION = 1
"""Version of the file format."""
CELLS = ('normal', 'reduce')
"""Names of the two cells of a cell space."""
_LOOSE_SPACES = ('hub_nasnet', 'hub_enas', 'hub_amoebanet')
"""Spaces where the output of a cell is those nodes that no other node takes, instead of all nodes."""
OWN_CELL_SPACES = ('darts', *ALLOWED)
"""The DARTS space and RobustDARTS's four reduced ones."""
CELL_SPACES = (*OWN_CELL_SPACES, 'hub_darts', 'hub_pnas', *_LOOSE_SPACES)
"""Spaces made of a normal and a reduction cell: ours, and those of NNI's hub."""
DENSE_SPACES = ('nasbench201',)
"""Spaces made of one cell, an operation on each edge."""
SPACES_WITH_CELLS = (*CELL_SPACES, *DENSE_SPACES)
"""Spaces whose architectures are made of cells, of either kind."""
_HUB_BENCHMARK = 'hub_nasbench201'
"""NAS-Bench-201 as NNI's hub has it, with names and labels of its own."""
BENCHMARK_SPACES = (*DENSE_SPACES, _HUB_BENCHMARK)
"""Spaces whose architectures are NAS-Bench-201's."""
SPACES = (*SPACES_WITH_CELLS, _HUB_BENCHMARK, 'proxylessnas', 'mobilenetv3', 'view_network', 'other')
"""Known spaces. Outside :data:`SPACES_WITH_CELLS` a sample is any map from label to choice; ``'other'`` is any NNI
space."""
_NUM_NODES = {'hub_pnas': 5, **dict.fromkeys(_LOOSE_SPACES, 5)}  # Elsewhere 4.
_MAX_BYTES = 1 << 20
"""Largest size of a file that is parsed: a wrong path shall not fill the memory."""
_NUM_PREDECESSORS = 2
_NUM_OPS_PER_NODE = 2
_REMEDY = 'give the architecture.json of a run'


@dataclass(frozen=True)
class Architecture:
    """One point of a search space.

    Parameters
    ----------
    space
        One of :data:`SPACES`.
    sample
        NNI's export. In a cell space ``'<cell>/op_<node>_<k>'`` is the operation and ``'<cell>/input_<node>_<k>'`` the
        one-element list of its source; nodes count from 2, states 0 and 1 are the outputs of the two cells before. In
        the dense cell of NAS-Bench-201 ``'cell/<target>_<source>'`` is an operation; state 0 is the input.
    operations
        Candidate operations of the space.
    version
        Version of the file format.
    arguments
        Arguments of the space. ``num_nodes`` (4, in some spaces of NNI's hub 5), ``num_ops_per_node`` (2) and ``views``
        (none) say which keys the sample of a pair of cells has.
    provenance
        Seed, settings, versions: anything JSON can hold.

    Raises
    ------
    ArchitectureError
        If anything but the provenance is wrong.
    """

    space: str
    sample: dict[str, Any]
    operations: tuple[str, ...] = ()
    version: int = VERSION
    arguments: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_header(self)
        # The dataclass is frozen; the check above needs the value as it was given.
        object.__setattr__(self, 'operations', tuple(self.operations))  # A file holds a list.
        if self.space in CELL_SPACES:
            check_cells(self)
        elif self.space in DENSE_SPACES:
            check_dense(self)

    @property
    def cells(self) -> tuple[str, ...]:
        """Names of the architecture's cells; empty in a space without cells."""
        if self.is_cell:
            return CELLS
        return (DENSE_LABEL,) if self.space in DENSE_SPACES else ()

    @property
    def num_inputs(self) -> int:
        """Number of inputs of a cell: 1 in the dense cell, elsewhere 2."""
        return 1 if self.space in DENSE_SPACES else _NUM_PREDECESSORS

    @property
    def string(self) -> str:
        """The architecture as NAS-Bench-201 writes it.

        Raises
        ------
        ValueError
            If the architecture is none of that benchmark's.
        """
        return to_string(from_hub(self.sample) if self.space == _HUB_BENCHMARK else self.sample)

    @property
    def is_cell(self) -> bool:
        """Whether the architecture is a pair of cells."""
        return self.space in CELL_SPACES

    @property
    def num_nodes(self) -> int:
        """Number of intermediate nodes of a cell."""
        if self.space in DENSE_SPACES:
            return DENSE_NODES
        return int(self.arguments.get('num_nodes', _NUM_NODES.get(self.space, 4)))

    @property
    def num_ops_per_node(self) -> int:
        """Number of edges that each node keeps."""
        return int(self.arguments.get('num_ops_per_node', _NUM_OPS_PER_NODE))

    @property
    def view(self) -> str | None:
        """What the network sees of its images, one of :data:`nni_wcnas.spaces.views.VIEWS`; None without a choice."""
        return self.sample[VIEW_LABEL] if self.arguments.get('views') else None

    def cell(self, name: str) -> CellGenotype:
        """Return the kept edges of one cell, by node.

        Parameters
        ----------
        name
            One of :attr:`cells`: ``'normal'`` or ``'reduce'``, in NAS-Bench-201 ``'cell'``.

        Raises
        ------
        ArchitectureError
            If the space has no cells, or none of this name.
        """
        if not self.cells:
            raise ArchitectureError(f'space {self.space!r} has no cells: only {listed(SPACES_WITH_CELLS)} have')
        if name not in self.cells:
            raise ArchitectureError(f'no cell {name!r}: ask for {listed(self.cells)}')
        if self.space in DENSE_SPACES:
            edges = ((Choice(self.sample[f'{name}/{node}_{source}'], source) for source in range(node))
                     for node in range(1, DENSE_NODES + 1))
            return tuple(tuple(choices) for choices in edges)
        return tuple(tuple(self._choice(name, node, k) for k in range(self.num_ops_per_node)) for node in self._nodes())

    def genotype(self) -> dict[str, CellGenotype]:
        """Return the kept edges of all cells, by name of the cell."""
        return {name: self.cell(name) for name in self.cells}

    def outputs(self, name: str) -> tuple[int, ...]:
        """Return the nodes of a cell that are its output, counted from 0.

        These are all nodes, in some spaces of NNI's hub those that no other node takes, and in the dense cell the last.
        """
        if self.space in DENSE_SPACES:
            return (DENSE_NODES - 1,)
        # Negative for the inputs of the cell, which are no nodes.
        used = {choice.source - self.num_inputs for choices in self.cell(name) for choice in choices}
        loose = used if self.space in _LOOSE_SPACES else set()
        return tuple(node for node in range(self.num_nodes) if node not in loose)

    @classmethod
    def from_genotype(cls, genotype: Mapping[str, CellGenotype], *, space: str = 'darts',
                      operations: Iterable[str] = PRIMITIVES,
                      provenance: dict[str, Any] | None = None) -> Architecture:
        """Make an architecture of two cells.

        Parameters
        ----------
        genotype
            Kept edges of the cells ``'normal'`` and ``'reduce'``, by node. Their numbers of nodes and edges are written
            into the arguments where they are not those of the space.
        space, operations, provenance
            As in the class.
        """
        sample: dict[str, Any] = {}
        for name, cell in genotype.items():
            for node, choices in enumerate(cell, start=_NUM_PREDECESSORS):
                for k, choice in enumerate(choices):
                    sample[f'{name}/op_{node}_{k}'] = choice.operation
                    sample[f'{name}/input_{node}_{k}'] = [choice.source]
        # The first cell tells the sizes; the checks of the class compare all cells with them.
        shape = next(iter(genotype.values()), ())
        sizes = {'num_nodes': len(shape), 'num_ops_per_node': max((len(choices) for choices in shape), default=0)}
        usual = {'num_nodes': _NUM_NODES.get(space, 4), 'num_ops_per_node': _NUM_OPS_PER_NODE}
        arguments = {key: size for key, size in sizes.items() if size != usual[key]}
        return cls(space, sample, tuple(operations), arguments=arguments, provenance=provenance or {})

    def _choice(self, name: str, node: int, k: int) -> Choice:
        """Return the k-th kept edge of a node."""
        return Choice(self.sample[f'{name}/op_{node}_{k}'], self.sample[f'{name}/input_{node}_{k}'][0])

    def _nodes(self) -> range:
        """Return the numbers of the intermediate nodes, which follow those of the inputs."""
        return range(_NUM_PREDECESSORS, _NUM_PREDECESSORS + self.num_nodes)

    def labels(self) -> list[str]:
        """Return the keys that the sample of a cell space must have."""
        edges = [f'{name}/{kind}_{node}_{k}' for name in CELLS for node in self._nodes()
                 for k in range(self.num_ops_per_node) for kind in ('op', 'input')]
        return [VIEW_LABEL, *edges] if self.arguments.get('views') else edges


def save_architecture(architecture: Architecture, path: str | os.PathLike[str]) -> Path:
    """Write an architecture to a JSON file, whole or not at all.

    Parameters
    ----------
    architecture
        What to write.
    path
        The file; its folder is made if need be.

    Returns
    -------
    pathlib.Path
        The path of the file.

    Raises
    ------
    ArchitectureError
        If the provenance holds something that JSON cannot hold.
    """
    path = Path(path)
    try:
        # allow_nan=False: NaN is no JSON, and other readers would refuse the file.
        text = json.dumps(asdict(architecture), indent=2, allow_nan=False) + '\n'
    except (TypeError, ValueError) as error:
        remedy = 'keep only numbers, strings, lists and maps'
        raise ArchitectureError(f'{path}: cannot be written, {error}: {remedy}') from error
    write_atomically(path, text)
    return path


def load_architecture(path: str | os.PathLike[str]) -> Architecture:
    """Read an architecture from a file, and check it.

    Parameters
    ----------
    path
        A file that :func:`save_architecture` wrote, or one of the same form.

    Raises
    ------
    ArchitectureError
        If the file cannot be read or holds no valid architecture: one sentence that names the file, the key and the
        remedy.
    """
    path = Path(path)
    try:
        document = _read(path)
        _check_version(document.get('version'))  # First: another version may well have other keys.
        check_keys(document, ('version', 'space', 'sample', 'operations'), ('arguments', 'provenance'))
        return Architecture(**document)
    except ArchitectureError as error:
        raise ArchitectureError(f'{path}: {error}') from error


def _read(path: Path) -> dict[str, Any]:
    """Return the JSON object that a small file holds."""
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ArchitectureError(f'has {size} bytes, more than the {_MAX_BYTES} of an architecture: {_REMEDY}')
        document = json.loads(path.read_text(encoding='utf-8'), object_pairs_hook=_without_duplicates)
    except OSError as error:
        raise ArchitectureError(f'cannot be read, {error.strerror}: {_REMEDY}') from error
    except ArchitectureError:  # Is a ValueError: the next clause would call it bad JSON.
        raise
    except (ValueError, RecursionError) as error:  # Bad JSON and bad UTF-8 are ValueErrors.
        raise ArchitectureError(f'is not JSON ({error}): {_REMEDY}') from error
    if not isinstance(document, dict):
        raise ArchitectureError(f'holds a JSON {type(document).__name__}, not an object: {_REMEDY}')
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a map of pairs, and refuse a key that stands twice, of which JSON would silently keep the last."""
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ArchitectureError(f'key {next(key for key in keys if keys.count(key) > 1)!r} stands twice: remove one')
    return result


def _check_version(version: Any) -> None:
    """Refuse another version of the file format."""
    # isinstance would let True pass, which equals 1.
    if type(version) is not int or version != VERSION:
        remedy = 'update nni_wcnas, or search again'
        raise ArchitectureError(f'key \'version\' is {version!r}, but this release reads version {VERSION}: {remedy}')


def _check_header(architecture: Architecture) -> None:
    """Check everything but the sample's content."""
    _check_version(architecture.version)
    space = architecture.space
    if not isinstance(space, str) or space not in SPACES:
        raise ArchitectureError(
            f'key \'space\' is {space!r}: did you mean {nearest_name(space, SPACES)!r}? Known are {listed(SPACES)}')
    for key in ('sample', 'arguments', 'provenance'):
        value = getattr(architecture, key)
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise ArchitectureError(f'key {key!r} is of type {type(value).__name__}: make it a map with string keys')
    operations = architecture.operations
    if not isinstance(operations, (list, tuple)) or not all(isinstance(name, str) for name in operations):
        raise ArchitectureError(f'key \'operations\' is {operations!r}: list the names of the candidate operations')
