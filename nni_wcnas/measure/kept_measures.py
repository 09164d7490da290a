"""What is known of a network, by group of measures: kept on disk, forgotten where it depends on something else."""

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
    'test': tuple(  # The others are made each time.
        f'{name}_{part}'
        for name in ('accuracy', 'error', 'loss', 'ece', 'ece_equal_width', 'brier') for part in ('hard', 'rest')
    ),
    'groups': ('error_group_', 'error_worst_group'),
    'corruptions': ('error_corruption_', 'mce', 'relative_mce'),
    'attacks': ('error_before_attacks', 'attacked_', 'error_attack_', 'distance_'),
    'curve': (CURVE,),
    **VARIANT_STARTS,
}
"""How the names of a group's measures begin, as far as a later call may not make them again."""


@dataclass
class KeptMeasures:
    """One network, its data, and what is known of it so far; each measure is on disk as soon as it is made."""

    run: RunDirectory
    record: Record
    network: nn.Module
    data: ImageData

    def differs(self, group: str, depends_on: Mapping[str, Any]) -> bool:
        """Whether a group's measures are not there, or depended on something else."""
        return self.record.measured_with.get(group) != depends_on

    def begin(self, group: str, depends_on: dict[str, Any]) -> None:
        """Forget a group's measures where they depended on something else, and say so."""
        known = self.record.measured_with.get(group)
        if known is not None and self.differs(group, depends_on):
            changes = [f'{key} is {depends_on.get(key)!r}, no longer {known.get(key)!r}'
                       for key in {**known, **depends_on} if depends_on.get(key) != known.get(key)]
            print(f'{group}: {", ".join(changes)}; what was measured with that is replaced', file=sys.stderr)
            self._forget(group)
        self.record = replace(self.record, measured_with={**self.record.measured_with, group: depends_on})

    def add(self, measures: Mapping[str, float], **parts: Any) -> None:
        """Keep some measures, on disk too."""
        self.record = replace(self.record, measures={**self.record.measures, **measures}, **parts)
        self.run.write_measures(self.record.measures)
        save_record(self.record, record_path(self.run))

    def missing(self, name: str) -> bool:
        """Whether a measure is still to be made."""
        return name not in self.record.measures

    def _forget(self, group: str) -> None:
        """The longest beginning tells a measure's group: points of the curve begin as attacks do."""
        starts = {start: each for each, starts in _STARTS.items() for start in starts}
        kept = {}
        for name, value in self.record.measures.items():
            found = max((start for start in starts if name.startswith(start)), key=len, default='')
            if starts.get(found) != group:
                kept[name] = value
        self.record = replace(self.record, measures=kept)
