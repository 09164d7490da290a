"""``truth`` of a settings file, and ``nni-wcnas lookup``: how good an architecture of NAS-Bench-201 truly is.

A search looks up what it would export after each epoch, and is the same without.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from nni_wcnas.measure.truth import TruthError, TruthTable, load_truth
from nni_wcnas.settings.schema import Settings
from nni_wcnas.spaces.architecture import BENCHMARK_SPACES, Architecture, load_architecture
from nni_wcnas.spaces.architecture_string import from_string, to_string
from nni_wcnas.spaces.operations import BENCHMARK_PRIMITIVES
from nni_wcnas.spaces.sample_check import listed

__all__ = ['look_up', 'make_truth', 'print_truth', 'true_values']

_SPACES = ' or '.join(BENCHMARK_SPACES)


def make_truth(settings: Settings) -> TruthTable | None:
    """The table of the settings, with every architecture that the search can find; None where there is none.

    Raises
    ------
    TruthError
        When it cannot be read, or not all of the space is in it.
    """
    source = settings.truth
    if source is None:
        return None
    _check_space(settings.space)
    table = load_truth(Path(source.table))
    if source.columns is not None:
        table = table.select(source.columns)
    twice = [name for name in table.columns if f'{name}_rank' in table.columns]
    if twice:
        raise TruthError(f'columns {twice[0]} and {twice[0]}_rank of {table.path} would both be true_{twice[0]}_rank; '
                         'list those to show in `columns`, without one of them')
    missing = table.missing(settings.space.get('operations', BENCHMARK_PRIMITIVES))
    if missing:
        raise TruthError(f'{table.path} lacks {len(missing)} architectures that the search can find, such as '
                         f'{missing[0]}; give a table that has all, or take operations out of the space')
    return table


def true_values(table: TruthTable, space: str, sample: Mapping[str, Any]) -> dict[str, float]:
    """Columns of ``metrics.csv`` for a sample of a space: ``true_<column>`` and ``true_<column>_rank``."""
    found = table.standings(Architecture(space, dict(sample), BENCHMARK_PRIMITIVES).string)
    return {
        f'true_{name}{suffix}': value
        for name, standing in found.items()
        for suffix, value in (('', standing.value), ('_rank', standing.rank))
    }


def look_up(source: str, table: str) -> None:
    """Print what a table says of an architecture.

    Parameters
    ----------
    source
        A string of NAS-Bench-201, an architecture file, or the run directory that holds one.
    table
        The file.

    Raises
    ------
    TruthError, ArchitectureError
        When there is no such architecture, in the benchmark or in the table.
    """
    print_truth(load_truth(Path(table)), _string(source))


def print_truth(table: TruthTable, architecture: str) -> None:
    """Print value, rank and percentile of an architecture, column by column."""
    shown = Table('', 'true value', f'rank of {len(table.architectures):,}', 'percentile')
    for name, standing in table.standings(architecture).items():
        shown.add_row(name, f'{standing.value:.6g}', f'{standing.rank:,}', f'{standing.percentile:.2f}')
    console = Console()
    console.print(architecture, soft_wrap=True, highlight=False, markup=False)
    console.print(shown)


def _check_space(space: Mapping[str, Any]) -> None:
    """Refuse what no table of the benchmark can have."""
    name = space['name']
    if name not in BENCHMARK_SPACES:
        raise TruthError(f'the table is of NAS-Bench-201, and the space is {name}; use {_SPACES}, or leave truth out')
    others = [operation for operation in space.get('operations', ()) if operation not in BENCHMARK_PRIMITIVES]
    if others:
        raise TruthError(f'the table is of NAS-Bench-201, whose operations are {listed(BENCHMARK_PRIMITIVES)}, and the '
                         f'space has {others[0]!r}; take it out, or leave truth out')


def _string(source: str) -> str:
    """An architecture as the benchmark writes it."""
    if '|' in source:
        try:
            return to_string(from_string(source))
        except ValueError as error:
            raise TruthError(str(error)) from error
    path = Path(source)
    path = path / 'architecture.json' if path.is_dir() else path
    architecture = load_architecture(path)
    if architecture.space not in BENCHMARK_SPACES:
        raise TruthError(f'{path} is of the space {architecture.space}, and the table of NAS-Bench-201; give an '
                         f'architecture of {_SPACES}')
    try:
        return architecture.string
    except ValueError as error:
        raise TruthError(f'{path} is none of NAS-Bench-201: {error}') from error
