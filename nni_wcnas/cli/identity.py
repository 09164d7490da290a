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
    """What makes this process a certain trial to NNI's manager: a channel to it, and the record of its parameters."""

    channel: TrialCommandChannel
    record: Any
    """What ``nni.get_next_parameter`` received last, with the parameter's id; None before the first call."""

    @classmethod
    def current(cls) -> TrialIdentity:
        """Return the identity that the process has at this moment."""
        return cls(get_default_trial_command_channel(), nni.trial._params)

    def assume(self) -> None:
        """Give this identity to the process again."""
        set_default_trial_command_channel(self.channel)
        nni.trial._params = self.record

    def report_intermediate(self, metrics: dict[str, float]) -> None:
        """Report an intermediate result as this trial, whoever the process is at the moment."""
        # Inside a search the channel is that of NNI's engine, which would take the report for one of its model.
        inner = TrialIdentity.current()
        self.assume()
        try:
            nni.report_intermediate_result(metrics)
        finally:
            inner.assume()


@contextmanager
def preserved_identity() -> Iterator[TrialIdentity]:
    """Give the trial's identity back to the process at the end, whatever happens inside the context."""
    identity = TrialIdentity.current()
    try:
        yield identity
    finally:
        identity.assume()
