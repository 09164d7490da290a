"""What stops a command from outside: Ctrl-C, and the signal by which schedulers, `timeout` and NNI end a process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ['Terminated', 'interrupted', 'terminable']


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: the command ends as on Ctrl-C, with what it has kept, and with an exit code of its own."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise :class:`Terminated` at SIGTERM while the context lasts, in the place of an end without a word.

    Lightning has a handler of its own while it trains, which calls this one, too; without one it takes the signal for
    the end of the training, and a search that was stopped would look like one that is done.
    """
    # Python lets the main thread alone choose handlers.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


def interrupted(error: BaseException | None) -> KeyboardInterrupt | None:
    """Return a fresh interruption of the kind of an error, None if it is none.

    Lightning turns interruptions into an exit, so its callbacks remember what it was.
    """
    # Here, as the command line is parsed before Lightning is imported.
    from pytorch_lightning.utilities.exceptions import SIGTERMException

    # Where `Terminated` is raised in a place that cannot pass it on, as a finaliser is, Lightning still ends after the
    # batch, by an exit of its own that means success.
    if isinstance(error, SIGTERMException):
        return Terminated()
    return type(error)() if isinstance(error, KeyboardInterrupt) else None


def _terminate(number: int, frame: Any) -> None:
    """Handle the signal."""
    del number, frame  # Unused: the signature is Python's.
    # A second signal, as of an impatient scheduler, shall not stop the files from being closed.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated
