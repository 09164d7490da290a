"""``nni-wcnas lookup``: how good an architecture of NAS-Bench-201 truly is, by a table of all.

A search looks up what it would export after each epoch, and is the same without.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from nni_wcnas.measure.truth import TruthError, TruthTable, load_truth
from nni_wcnas.spaces.architecture import BENCHMARK_SPACES, Architecture, load_architecture
from nni_wcnas.spaces.architecture_string import from_string, to_string
from nni_wcnas.spaces.operations import BENCHMARK_PRIMITIVES

__all__ = ['look_up', 'print_truth', 'true_values']

_SPACES = ' or '.join(BENCHMARK_SPACES)


def true_values(table: TruthTable, space: str, sample: Mapping[str, Any]) -> dict[str, float]:
    """Return the true values of a space's sample as columns of ``metrics.csv``.

    Parameters
    ----------
    table
        The table.
    space
        Name of the space, one of NAS-Bench-201's.
    sample
        NNI's export of the architecture.

    Returns
    -------
    dict
        ``true_<column>`` and ``true_<column>_rank`` for each column of the table.
    """
    # NNI's hub and our own space export different samples; the string of the benchmark is the same for both.
    found = table.standings(Architecture(space, dict(sample), BENCHMARK_PRIMITIVES).string)
    return {
        f'true_{name}{suffix}': value
        for name, standing in found.items()
        for suffix, value in (('', standing.value), ('_rank', standing.rank))
    }


def look_up(source: str, table: str) -> None:
    """Print what a table says about an architecture.

    Parameters
    ----------
    source
        A string of NAS-Bench-201, an architecture file, or the run directory that holds one.
    table
        File of the table.

    Raises
    ------
    TruthError, ArchitectureError
        When there is no such architecture, in the benchmark or in the table.
    """
    print_truth(load_truth(Path(table)), _string(source))


def print_truth(table: TruthTable, architecture: str) -> None:
    """Print value, rank and percentile of an architecture for each column of a table."""
    shown = Table('', 'true value', f'rank of {len(table.architectures):,}', 'percentile')
    for name, standing in table.standings(architecture).items():
        shown.add_row(name, f'{standing.value:.6g}', f'{standing.rank:,}', f'{standing.percentile:.2f}')
    console = Console()
    console.print(architecture, soft_wrap=True, highlight=False, markup=False)
    console.print(shown)


def _string(source: str) -> str:
    """Return an architecture as the benchmark writes it.

    Parameters
    ----------
    source
        The benchmark's string, an architecture file, or the run folder that holds one.
    """
    # No path of ours holds this sign, and every string of the benchmark does. Parsed and written again, it is checked.
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
