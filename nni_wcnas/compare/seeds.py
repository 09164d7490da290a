"""Which seed varies between the networks of a method: that of the search, or only that of the retraining.

The spread over retrainings of one found cell says nothing about the spread over searches.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from nni_wcnas.files.record import Record

__all__ = ['SeedPair', 'is_of_one_search', 'pair', 'pair_text', 'seeds_note', 'what_varies']

SeedPair = tuple[int | None, int]
"""Seed of the search, None where it is not known, and seed of the retraining."""


def pair(record: Record) -> SeedPair:
    """Return the two seeds of a record, which tell the networks of one method apart."""
    return record.seed, record.retraining_seed


def pair_text(record: Record) -> str:
    """Write both seeds of a record for the reader.

    Examples
    --------
    >>> pair_text(Record('', '', 3, 'digits', retraining_seed=1))
    'search seed 3, retraining seed 1'
    """
    search = '' if record.seed is None else f'search seed {record.seed}, '
    return f'{search}retraining seed {record.retraining_seed}'


def what_varies(records: Sequence[Record]) -> str:
    """Say how many searches the records of a method are of, and how many retrainings of each.

    Examples
    --------
    >>> what_varies([Record('', '', seed, 'digits') for seed in range(3)])
    '3 searches, one retraining each'
    >>> what_varies([Record('', '', 0, 'digits', retraining_seed=seed) for seed in range(5)])
    '1 search retrained with 5 seeds'
    """
    # Published cells have no seed of a search: then cells are counted, not searches.
    counts = _retrainings(records)
    one, several = ('cell', 'cells') if all(record.seed is None for record in records) else ('search', 'searches')
    if len(counts) == 1:
        return f'1 {one}, one retraining' if len(records) == 1 else f'1 {one} retrained with {len(records)} seeds'
    if len(set(counts.values())) > 1:
        return f'{len(counts)} {several}, {len(records)} retrainings in all'
    each = next(iter(counts.values()))
    return f'{len(counts)} {several}, {"one retraining" if each == 1 else f"{each} retrainings"} each'


def is_of_one_search(records: Sequence[Record]) -> bool:
    """Tell whether there are several records, all of which are retrainings of one search."""
    return len(records) > 1 == len(_retrainings(records))  # A chain: several records, exactly one search.


def seeds_note(methods: Sequence[tuple[str, Sequence[Record]]]) -> str:
    """Say in plain text which seeds vary in each method, and what its spread therefore cannot show.

    Parameters
    ----------
    methods
        Name and records of each method.
    """
    sentences = ['Seeds: ' + '; '.join(f'{name}: {what_varies(records)}' for name, records in methods) + '.']
    single = [name for name, records in methods if is_of_one_search(records)]
    if single:
        sentences.append(f'The spread of {" and ".join(single)} is of the retraining, not of the search: what is said '
                         'of it holds for one found cell, not for what another search finds.')
    # Values that share a search are not independent, as the t-tests assume: their p-values come out too small.
    nested = [name for name, records in methods if 1 < len(_retrainings(records)) < len(records)]
    if nested:
        sentences.append(f'Retrainings of one search count as values of their own in {" and ".join(nested)}, though '
                         'they have the search in common: the tests are too sure of it.')
    return ' '.join(sentences)


def _retrainings(records: Sequence[Record]) -> Counter[str]:
    """Count the retrainings of each search.

    A search is told by its seed and its architecture: the same seed with other settings finds another cell.
    """
    return Counter(json.dumps([record.seed, record.architecture], sort_keys=True) for record in records)
