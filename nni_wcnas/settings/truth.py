"""Section ``truth`` of a settings file: the table in which a search looks up the architecture it would export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nni_wcnas.measure.truth import TruthError, TruthTable, load_truth
from nni_wcnas.settings.schema import Settings
from nni_wcnas.spaces.architecture import BENCHMARK_SPACES
from nni_wcnas.spaces.operations import BENCHMARK_PRIMITIVES
from nni_wcnas.spaces.sample_check import listed

__all__ = ['make_truth']

_SPACES = ' or '.join(BENCHMARK_SPACES)


def make_truth(settings: Settings) -> TruthTable | None:
    """Load the table that the settings name, and check that it has every architecture that the search can find.

    Returns
    -------
    TruthTable or None
        The table, with the chosen columns; None where the settings name none.

    Raises
    ------
    TruthError
        When the table cannot be read, or not all of the space is in it.
    """
    source = settings.truth
    if source is None:
        return None
    _check_space(settings.space)
    table = load_truth(Path(source.table))
    if source.columns is not None:
        table = table.select(source.columns)
    # The history gets the columns true_<name> and true_<name>_rank, which must not be the same for two names.
    twice = [name for name in table.columns if f'{name}_rank' in table.columns]
    if twice:
        raise TruthError(f'columns {twice[0]} and {twice[0]}_rank of {table.path} would both be true_{twice[0]}_rank; '
                         'list those to show in `columns`, without one of them')
    # Checked before the search, which would end at the first epoch whose architecture is missing.
    missing = table.missing(settings.space.get('operations', BENCHMARK_PRIMITIVES))
    if missing:
        raise TruthError(f'{table.path} lacks {len(missing)} architectures that the search can find, such as '
                         f'{missing[0]}; give a table that has all, or take operations out of the space')
    return table


def _check_space(space: Mapping[str, Any]) -> None:
    """Refuse spaces and operations that no table of the benchmark can have."""
    name = space['name']
    if name not in BENCHMARK_SPACES:
        raise TruthError(f'the table is of NAS-Bench-201, and the space is {name}; use {_SPACES}, or leave truth out')
    others = [operation for operation in space.get('operations', ()) if operation not in BENCHMARK_PRIMITIVES]
    if others:
        raise TruthError(f'the table is of NAS-Bench-201, whose operations are {listed(BENCHMARK_PRIMITIVES)}, and the '
                         f'space has {others[0]!r}; take it out, or leave truth out')
