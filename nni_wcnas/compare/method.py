"""Records grouped into methods: each method has several seeds, and one value a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nni_wcnas.compare.hypothesis_test import summarise
from nni_wcnas.compare.seeds import SeedPair, pair, pair_text
from nni_wcnas.files.record import Record

__all__ = ['ComparisonError', 'Method', 'group_records']


class ComparisonError(ValueError):
    """Records cannot be compared; the message is one sentence that names them, the reason and the remedy."""


@dataclass(frozen=True)
class Method:
    """The records of one method, by the seeds of search and retraining.

    Parameters
    ----------
    name
        Name of the method, for the reader.
    records
        Its records, at least one, in the order of their seeds.
    """

    name: str
    records: tuple[Record, ...]

    def by_seed(self, measure: str) -> dict[SeedPair, float]:
        """Return the value of a measure by pair of seeds, for the records that have it."""
        return {pair(record): record.measures[measure] for record in self.records if measure in record.measures}

    def values(self, measure: str) -> list[float]:
        """Return the values of a measure, one for each record that has it."""
        return list(self.by_seed(measure).values())

    def mean(self, measure: str) -> float | None:
        """Return the mean of a measure over the seeds; None where nothing was measured."""
        values = self.values(measure)
        return summarise(values).mean if values else None

    def deviation(self, measure: str) -> float | None:
        """Return the sample standard deviation of a measure over the seeds; None with fewer than two of them."""
        values = self.values(measure)
        return summarise(values).deviation if values else None


def group_records(records: Sequence[Record]) -> list[Method]:
    """Group records by method, in the order of their first record; seeds ascend, those of the search first.

    Raises
    ------
    ComparisonError
        If there are no records, a network stands twice, or they were measured on different data or in different ways.
    """
    if not records:
        raise ComparisonError('there are no records to compare: give at least one run')
    # A record without a checkpoint was only described, and holds no measures that could differ in kind.
    _check_alike([record for record in records if record.checkpoint])
    names = dict.fromkeys(record.method for record in records)
    methods = [
        Method(name, tuple(sorted((record for record in records if record.method == name), key=_place)))
        for name in names
    ]
    for method in methods:
        # Sorted by both seeds, so records of the same pair are neighbours.
        for one, next_one in zip(method.records, method.records[1:]):
            if pair(one) == pair(next_one):
                raise ComparisonError(
                    f'{one.name} and {next_one.name} are both {method.name} of {pair_text(one)}: leave one out, or '
                    'tell them apart with --name RUN=NAME'
                )
    return methods


def _place(record: Record) -> tuple[int, int]:
    """Return the key by which a method's records are sorted: both seeds, an unknown seed of the search first."""
    return -1 if record.seed is None else record.seed, record.retraining_seed


def _check_alike(records: Sequence[Record]) -> None:
    """Refuse records that were measured on different data, or whose groups of measures depend on different things.

    Raises
    ------
    ComparisonError
        Naming the first such pair of records.
    """
    for record in records[1:]:
        first = records[0]
        for what, ours, theirs in (
            ('data set', record.data, first.data),
            ('classes', record.class_names, first.class_names),
            ('number of test images', record.measures.get('examples'), first.measures.get('examples')),
        ):
            if ours != theirs:
                raise ComparisonError(
                    f'{record.name} and {first.name} were measured on different data ({what}: {_short(ours)} and '
                    f'{_short(theirs)}): compare runs on one data set'
                )
    for group in dict.fromkeys(group for record in records for group in record.measured_with):
        # Not every network has every group: attacks, say, may be measured on some only.
        measured = [record for record in records if group in record.measured_with]
        for record in measured[1:]:
            ours, theirs = record.measured_with[group], measured[0].measured_with[group]
            if ours != theirs:
                keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
                raise ComparisonError(
                    f'{record.name} and {measured[0].name} were measured in different ways ({group}: '
                    f'{keys[0]} is {ours.get(keys[0])!r} and {theirs.get(keys[0])!r}): evaluate them alike'
                )


def _short(value: object) -> str:
    """Write a value, cut off where it is long, as a list of class names is."""
    text = str(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
