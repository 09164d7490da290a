"""Keep the measures of a network on disk by group, and forget a group when what it depends on has changed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from nni_wcnas.data import ImageData
from nni_wcnas.files.earlier_record import CURVE
from nni_wcnas.files.record import Record, record_path, save_record
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.measure.imagenet_images import VARIANT_STARTS

__all__ = ['CURVE', 'KeptMeasures']

_STARTS = {
    'test': tuple(  # A test pass overwrites all others.
        f'{name}_{part}'
        for name in ('accuracy', 'error', 'loss', 'ece', 'ece_equal_width', 'brier') for part in ('hard', 'rest')
    ),
    'groups': ('error_group_', 'error_worst_group'),
    'corruptions': ('error_corruption_', 'mce', 'relative_mce'),
    'attacks': ('error_before_attacks', 'attacked_', 'error_attack_', 'distance_'),
    'curve': (CURVE,),
    **VARIANT_STARTS,
}
"""How the names of each group's measures begin; only measures that a later call may fail to overwrite are listed."""


@dataclass
class KeptMeasures:
    """One network, its data and its measures so far; each measure is on disk as soon as it is made."""

    run: RunDirectory
    record: Record
    network: nn.Module
    data: ImageData

    def differs(self, group: str, depends_on: Mapping[str, Any]) -> bool:
        """Tell whether a group's measures are missing, or depended on something else than now."""
        return self.record.measured_with.get(group) != depends_on

    def begin(self, group: str, depends_on: dict[str, Any]) -> None:
        """Start a group: delete its measures if they depended on something else than now, and say so on stderr."""
        known = self.record.measured_with.get(group)
        if known is not None and self.differs(group, depends_on):
            changes = [f'{key} is {depends_on.get(key)!r}, no longer {known.get(key)!r}'
                       for key in {**known, **depends_on} if depends_on.get(key) != known.get(key)]
            print(f'{group}: {", ".join(changes)}; what was measured with that is replaced', file=sys.stderr)
            self._forget(group)
        # In memory only: the next add() writes it together with the first measures, so that no measure is on disk
        # without what it depends on.
        self.record = replace(self.record, measured_with={**self.record.measured_with, group: depends_on})

    def add(self, measures: Mapping[str, float], **parts: Any) -> None:
        """Add measures, and other parts of the record by name, and write them to disk."""
        self.record = replace(self.record, measures={**self.record.measures, **measures}, **parts)
        self.run.write_measures(self.record.measures)
        save_record(self.record, record_path(self.run))

    def missing(self, name: str) -> bool:
        """Tell whether a measure of this name is still to be made."""
        return name not in self.record.measures

    def _forget(self, group: str) -> None:
        """Delete the measures of a group from the record."""
        starts = {start: each for each, starts in _STARTS.items() for start in starts}
        kept = {}
        for name, value in self.record.measures.items():
            # The longest beginning tells a measure's group: the names of the curve's points begin as those of attacks
            # do. A name without any of them is kept.
            found = max((start for start in starts if name.startswith(start)), key=len, default='')
            if starts.get(found) != group:
                kept[name] = value
        self.record = replace(self.record, measures=kept)
