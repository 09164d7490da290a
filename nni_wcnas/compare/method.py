"""Records grouped into methods: several seeds of each, one value a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nni_wcnas.compare.hypothesis_test import summarise
from nni_wcnas.compare.seeds import SeedPair, pair, pair_text
from nni_wcnas.files.record import Record

__all__ = ['ComparisonError', 'Method', 'group_records']


class ComparisonError(ValueError):
    """Records cannot be compared. One sentence: which, why, and the remedy."""


@dataclass(frozen=True)
class Method:
    """The records of one method, by the seeds of search and retraining.

    Parameters
    ----------
    name
        For the reader.
    records
        At least one.
    """

    name: str
    records: tuple[Record, ...]

    def by_seed(self, measure: str) -> dict[SeedPair, float]:
        """The value of each pair of seeds of which the measure is known."""
        return {pair(record): record.measures[measure] for record in self.records if measure in record.measures}

    def values(self, measure: str) -> list[float]:
        """One value a record that has the measure."""
        return list(self.by_seed(measure).values())

    def mean(self, measure: str) -> float | None:
        """Over the seeds; None where nothing was measured."""
        values = self.values(measure)
        return summarise(values).mean if values else None

    def deviation(self, measure: str) -> float | None:
        """Sample standard deviation over the seeds; None below two."""
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
    _check_alike([record for record in records if record.checkpoint])
    names = dict.fromkeys(record.method for record in records)
    methods = [
        Method(name, tuple(sorted((record for record in records if record.method == name), key=_place)))
        for name in names
    ]
    for method in methods:
        for one, next_one in zip(method.records, method.records[1:]):
            if pair(one) == pair(next_one):
                raise ComparisonError(
                    f'{one.name} and {next_one.name} are both {method.name} of {pair_text(one)}: leave one out, or '
                    'tell them apart with --name RUN=NAME'
                )
    return methods


def _place(record: Record) -> tuple[int, int]:
    """Of a record among those of its method."""
    return -1 if record.seed is None else record.seed, record.retraining_seed


def _check_alike(records: Sequence[Record]) -> None:
    """Refuse what would compare apples with oranges."""
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
    text = str(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
