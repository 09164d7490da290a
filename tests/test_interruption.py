"""What stops a command from outside, and how it is told from an error."""

import os
import signal
import threading

import pytest
from pytorch_lightning.utilities.exceptions import SIGTERMException

from nni_wcnas.interruption import Terminated, interrupted, terminable


def test_kinds():
    assert type(interrupted(KeyboardInterrupt())) is KeyboardInterrupt
    # Lightning's own, where ours was raised in a place that cannot pass it on.
    assert type(interrupted(Terminated())) is type(interrupted(SIGTERMException())) is Terminated
    assert interrupted(ValueError()) is interrupted(SystemExit(1)) is interrupted(None) is None


def test_the_signal_is_raised_once_and_the_handler_put_back():
    earlier = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminable():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            # While files are closed, a second one is ignored.
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is earlier


def test_another_thread_leaves_the_handlers_alone():
    seen = []

    def work():
        with terminable():
            seen.append(signal.getsignal(signal.SIGTERM))

    earlier = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [earlier]
