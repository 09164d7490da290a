"""The trial's identity survives a search inside it."""

from __future__ import annotations

import nni
import nni.trial
import pytest
from nni.runtime.trial_command_channel import (
    TrialCommandChannel,
    get_default_trial_command_channel,
    set_default_trial_command_channel,
)
from nni.typehint import ParameterRecord

from nni_wcnas.cli.identity import preserved_identity


class Channel(TrialCommandChannel):
    """Remembers what was sent."""

    def __init__(self, parameter_id: int) -> None:
        self.parameter_id = parameter_id
        self.sent: list[tuple[str, int | None, object]] = []

    def receive_parameter(self) -> ParameterRecord:
        return ParameterRecord(parameter_id=self.parameter_id, parameters={'seed': 1})

    def send_metric(self, type: str, parameter_id: int | None, trial_job_id: str, sequence: int, value: object) -> None:
        self.sent.append((type, parameter_id, value))


@pytest.fixture
def outer(monkeypatch: pytest.MonkeyPatch) -> Channel:
    """A trial with parameter 7."""
    monkeypatch.setattr('nni.runtime.trial_command_channel._channel', None)
    monkeypatch.setattr(nni.trial, '_params', None)
    channel = Channel(7)
    set_default_trial_command_channel(channel)
    nni.get_next_parameter()
    return channel


@pytest.mark.parametrize('fails', [False, True])
def test_identity_survives(outer: Channel, fails: bool) -> None:
    """Reports inside and after go to the manager under parameter 7; the engine's own go to the engine."""
    inner = Channel(0)
    try:
        with preserved_identity() as identity:
            set_default_trial_command_channel(inner)
            nni.get_next_parameter()
            identity.report_intermediate({'default': 0.5})
            nni.report_intermediate_result(0.1)
            assert get_default_trial_command_channel() is inner
            if fails:
                raise RuntimeError
    except RuntimeError:
        pass
    nni.report_final_result({'default': 0.9})
    assert outer.sent == [('PERIODICAL', 7, {'default': 0.5}), ('FINAL', 7, {'default': 0.9})]
    assert inner.sent == [('PERIODICAL', 0, 0.1)]


def test_without_it_the_identity_is_lost(outer: Channel) -> None:
    """The trap that the context manager is there for: NNI restores the channel only."""
    nni_channel = get_default_trial_command_channel()
    set_default_trial_command_channel(Channel(0))
    nni.get_next_parameter()
    set_default_trial_command_channel(nni_channel)
    nni.report_final_result(0.9)
    assert outer.sent == [('FINAL', 0, 0.9)]
