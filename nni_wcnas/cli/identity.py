"""The trial's identity, kept safe from a search that runs inside it.

NNI's sequential engine calls ``nni.get_next_parameter()`` under a channel of its own. It puts the channel back but
leaves its parameter record (id 0) behind, so that everything the trial reported later would be filed under parameter 0
(nni/nas/execution/sequential.py, lines 35 and 85).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import nni
import nni.trial
from nni.runtime.trial_command_channel import (
    TrialCommandChannel,
    get_default_trial_command_channel,
    set_default_trial_command_channel,
)

__all__ = ['TrialIdentity', 'preserved_identity']


@dataclass(frozen=True)
class TrialIdentity:
    """Who this process is to the NNI manager."""

    channel: TrialCommandChannel
    record: Any
    """What ``nni.get_next_parameter`` last received, with the parameter's id; None before that."""

    @classmethod
    def current(cls) -> TrialIdentity:
        """The identity at this moment."""
        return cls(get_default_trial_command_channel(), nni.trial._params)

    def assume(self) -> None:
        """Take this identity on again."""
        set_default_trial_command_channel(self.channel)
        nni.trial._params = self.record

    def report_intermediate(self, metrics: dict[str, float]) -> None:
        """Report to the manager, whoever the process is at the moment."""
        inner = TrialIdentity.current()
        self.assume()
        try:
            nni.report_intermediate_result(metrics)
        finally:
            inner.assume()


@contextmanager
def preserved_identity() -> Iterator[TrialIdentity]:
    """Give the trial's identity back at the end, whatever happens inside."""
    identity = TrialIdentity.current()
    try:
        yield identity
    finally:
        identity.assume()
