"""A found architecture, and the file it is kept in.

The file is JSON: ``version``, ``space``, ``operations`` (candidates of the space), ``sample`` (NNI's export: operation
and input of each kept edge), ``arguments`` (of the space, where they are not the defaults) and ``provenance`` (seed,
settings, versions: free, never read back into a model). Everything but the provenance is checked, when an
:class:`Architecture` is made and when a file is read.
"""

from __future__ import annotations

import difflib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nni_wcnas.contracts import CellGenotype, Choice
from nni_wcnas.spaces.operations import OPERATIONS

__all__ = [
    'CELLS', 'CELL_SPACES', 'SPACES', 'VERSION', 'Architecture', 'ArchitectureError', 'load_architecture',
    'save_architecture', 'write_atomically',
]

VERSION = 1
"""Version of the file format."""
CELLS = ('normal', 'reduce')
CELL_SPACES = ('darts', 'hub_darts', 's1', 's2', 's3', 's4')
"""Spaces made of a normal and a reduction cell: ours, NNI hub's, and RobustDARTS's four reduced ones."""
SPACES = (*CELL_SPACES, 'nasbench201', 'proxylessnas', 'other')
"""Known spaces. Outside :data:`CELL_SPACES` a sample is any map from label to choice; ``'other'`` is any NNI space."""
_HUB_LABELS = ('width', 'depth')  # NNI's hub may search these along with the cells.
_MAX_BYTES = 1 << 20
_NUM_PREDECESSORS = 2
_DEFAULT_SIZES = {'num_nodes': 4, 'num_ops_per_node': 2}
_REMEDY = 'give the architecture.json of a run'


class ArchitectureError(ValueError):
    """An architecture, or its file, is wrong. One sentence: what, where, and the remedy."""


@dataclass(frozen=True)
class Architecture:
    """One point of a search space.

    Parameters
    ----------
    space
        One of :data:`SPACES`.
    sample
        NNI's export. In a cell space ``'<cell>/op_<node>_<k>'`` is the operation and ``'<cell>/input_<node>_<k>'`` the
        one-element list of its source; nodes count from 2, states 0 and 1 are the outputs of the two cells before.
    operations
        Candidate operations of the space.
    version
        Of the file format.
    arguments
        Of the space. ``num_nodes`` (4) and ``num_ops_per_node`` (2) say which keys the sample has.
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
        object.__setattr__(self, 'operations', tuple(self.operations))  # A file holds a list.
        if self.space in CELL_SPACES:
            _check_cells(self)

    @property
    def is_cell(self) -> bool:
        """Whether the architecture is a pair of cells."""
        return self.space in CELL_SPACES

    @property
    def num_nodes(self) -> int:
        """Intermediate nodes of a cell."""
        return int(self.arguments.get('num_nodes', _DEFAULT_SIZES['num_nodes']))

    @property
    def num_ops_per_node(self) -> int:
        """Kept edges of a node."""
        return int(self.arguments.get('num_ops_per_node', _DEFAULT_SIZES['num_ops_per_node']))

    def cell(self, name: str) -> CellGenotype:
        """Kept edges of one cell, by node.

        Parameters
        ----------
        name
            ``'normal'`` or ``'reduce'``.

        Raises
        ------
        ArchitectureError
            If the space has no cells, or none of this name.
        """
        if not self.is_cell:
            raise ArchitectureError(f'space {self.space!r} has no cells: only {_listed(CELL_SPACES)} have')
        if name not in CELLS:
            raise ArchitectureError(f'no cell {name!r}: ask for {_listed(CELLS)}')
        return tuple(tuple(self._choice(name, node, k) for k in range(self.num_ops_per_node)) for node in self._nodes())

    def genotype(self) -> dict[str, CellGenotype]:
        """Both cells by name."""
        return {name: self.cell(name) for name in CELLS}

    @classmethod
    def from_genotype(cls, genotype: Mapping[str, CellGenotype], *, space: str = 'darts',
                      operations: Iterable[str] = tuple(OPERATIONS),
                      provenance: dict[str, Any] | None = None) -> Architecture:
        """Make an architecture of two cells.

        Parameters
        ----------
        genotype
            Kept edges of the cells ``'normal'`` and ``'reduce'``.
        space, operations, provenance
            As in the class.
        """
        sample: dict[str, Any] = {}
        for name, cell in genotype.items():
            for node, choices in enumerate(cell, start=_NUM_PREDECESSORS):
                for k, choice in enumerate(choices):
                    sample[f'{name}/op_{node}_{k}'] = choice.operation
                    sample[f'{name}/input_{node}_{k}'] = [choice.source]
        shape = next(iter(genotype.values()), ())
        sizes = {'num_nodes': len(shape), 'num_ops_per_node': max((len(choices) for choices in shape), default=0)}
        arguments = {key: size for key, size in sizes.items() if size != _DEFAULT_SIZES[key]}
        return cls(space, sample, tuple(operations), arguments=arguments, provenance=provenance or {})

    def _choice(self, name: str, node: int, k: int) -> Choice:
        """The k-th kept edge of a node."""
        return Choice(self.sample[f'{name}/op_{node}_{k}'], self.sample[f'{name}/input_{node}_{k}'][0])

    def _nodes(self) -> range:
        """Numbers of the intermediate nodes."""
        return range(_NUM_PREDECESSORS, _NUM_PREDECESSORS + self.num_nodes)

    def _labels(self) -> list[str]:
        """Keys that the sample of a cell space must have."""
        return [f'{name}/{kind}_{node}_{k}' for name in CELLS for node in self._nodes()
                for k in range(self.num_ops_per_node) for kind in ('op', 'input')]


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
        The file.

    Raises
    ------
    ArchitectureError
        If the provenance holds something that JSON cannot.
    """
    path = Path(path)
    try:
        text = json.dumps(asdict(architecture), indent=2, allow_nan=False) + '\n'
    except (TypeError, ValueError) as error:
        remedy = 'keep only numbers, strings, lists and maps'
        raise ArchitectureError(f'{path}: cannot be written, {error}: {remedy}') from error
    write_atomically(path, text)
    return path


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file whole or not at all: a reader, or a killed writer, never sees half of it.

    Parameters
    ----------
    path
        The file; its folder is made if need be.
    content
        Text (written as UTF-8) or bytes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(temporary, 0o644)  # Temporary files are private; a result is not.
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_architecture(path: str | os.PathLike[str]) -> Architecture:
    """Read and check an architecture.

    Parameters
    ----------
    path
        A file that :func:`save_architecture` wrote, or one of the same form.

    Raises
    ------
    ArchitectureError
        One sentence that names the file, the key and the remedy.
    """
    path = Path(path)
    try:
        document = _read(path)
        _check_version(document.get('version'))  # First: another version may well have other keys.
        _check_keys(document, ('version', 'space', 'sample', 'operations'), ('arguments', 'provenance'))
        return Architecture(**document)
    except ArchitectureError as error:
        raise ArchitectureError(f'{path}: {error}') from error


def _read(path: Path) -> dict[str, Any]:
    """Parse a small JSON object."""
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ArchitectureError(f'has {size} bytes, more than the {_MAX_BYTES} of an architecture: {_REMEDY}')
        document = json.loads(path.read_text(encoding='utf-8'), object_pairs_hook=_without_duplicates)
    except OSError as error:
        raise ArchitectureError(f'cannot be read, {error.strerror}: {_REMEDY}') from error
    except ArchitectureError:
        raise
    except (ValueError, RecursionError) as error:  # Bad JSON and bad UTF-8 are ValueErrors.
        raise ArchitectureError(f'is not JSON ({error}): {_REMEDY}') from error
    if not isinstance(document, dict):
        raise ArchitectureError(f'holds a JSON {type(document).__name__}, not an object: {_REMEDY}')
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice, of which JSON would silently keep the last."""
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ArchitectureError(f'key {next(key for key in keys if keys.count(key) > 1)!r} stands twice: remove one')
    return result


def _check_version(version: Any) -> None:
    """Refuse another format."""
    if type(version) is not int or version != VERSION:
        remedy = 'update nni_wcnas, or search again'
        raise ArchitectureError(f'key \'version\' is {version!r}, but this release reads version {VERSION}: {remedy}')


def _check_header(architecture: Architecture) -> None:
    """Check everything but the sample's content."""
    _check_version(architecture.version)
    space = architecture.space
    if not isinstance(space, str) or space not in SPACES:
        raise ArchitectureError(
            f'key \'space\' is {space!r}: did you mean {_nearest(space, SPACES)!r}? Known are {_listed(SPACES)}')
    for key in ('sample', 'arguments', 'provenance'):
        value = getattr(architecture, key)
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise ArchitectureError(f'key {key!r} is of type {type(value).__name__}: make it a map with string keys')
    operations = architecture.operations
    if not isinstance(operations, (list, tuple)) or not all(isinstance(name, str) for name in operations):
        raise ArchitectureError(f'key \'operations\' is {operations!r}: list the names of the candidate operations')


def _check_cells(architecture: Architecture) -> None:
    """Check the sample of a cell space."""
    if not architecture.operations:
        raise ArchitectureError('key \'operations\' is empty: list the names of the candidate operations')
    for name in architecture.operations:
        if name not in OPERATIONS:
            raise ArchitectureError(f'key \'operations\' holds {name!r}: did you mean {_nearest(name, OPERATIONS)!r}?')
    for key in ('num_nodes', 'num_ops_per_node'):
        value = architecture.arguments.get(key, 1)
        if type(value) is not int or not 1 <= value <= 16:
            raise ArchitectureError(f'key \'arguments.{key}\' is {value!r}: make it a whole number from 1 to 16')
    labels = architecture._labels()
    _check_keys(architecture.sample, labels, _HUB_LABELS if architecture.space == 'hub_darts' else (), prefix='sample.')
    for label in labels:
        kind, node = label.split('/')[1].split('_')[:2]
        if kind == 'op':
            _check_operation(architecture, label)
        else:
            _check_source(architecture.sample[label], int(node), label)


def _check_operation(architecture: Architecture, label: str) -> None:
    """Check the operation of one edge."""
    name = architecture.sample[label]
    candidates = [candidate for candidate in architecture.operations if candidate != 'none']
    if name not in candidates:
        raise ArchitectureError(
            f'key \'sample.{label}\' is {name!r}: did you mean {_nearest(name, candidates)!r}? '
            f'Candidates are {_listed(candidates)}')


def _check_source(value: Any, node: int, label: str) -> None:
    """Check the source of one edge: NNI exports a list of one index."""
    if not isinstance(value, list) or len(value) != 1 or type(value[0]) is not int or not 0 <= value[0] < node:
        raise ArchitectureError(f'key \'sample.{label}\' is {value!r}: give a list of one state from 0 to {node - 1}')


def _check_keys(document: Mapping[str, Any], required: Iterable[str], optional: Iterable[str] = (), *,
                prefix: str = '') -> None:
    """Refuse a missing and an extra key."""
    required, optional = list(required), list(optional)
    for key in required:
        if key not in document:
            raise ArchitectureError(f'key \'{prefix}{key}\' is missing: take the file of a finished search, or add it')
    for key in document:
        if key not in required and key not in optional:
            nearest = _nearest(key, required + optional)
            raise ArchitectureError(f'key \'{prefix}{key}\' is unknown: remove it, or did you mean {nearest!r}?')


def _nearest(name: Any, known: Iterable[str]) -> str:
    """The known name that looks most like this one."""
    return (difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.0) or [''])[0]


def _listed(names: Iterable[str]) -> str:
    """Names in a sentence."""
    return ', '.join(repr(name) for name in names)
