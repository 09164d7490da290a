"""Errors that carry their parts, so that no caller has to read their sentences."""

from __future__ import annotations

__all__ = ['DivergedError', 'InvalidArgument', 'InvalidFile']


class InvalidArgument(ValueError):
    """An argument has a value that it cannot have.

    Parameters
    ----------
    name
        Name of the argument.
    value
        Its value.
    remedy
        What to do. Without a reason it goes on from "must".
    reason
        What is wrong with the value, as a predicate of the argument; None where the remedy says it all.

    Examples
    --------
    >>> print(InvalidArgument('every', 0, 'be at least 1 batch'))
    every must be at least 1 batch, not 0
    >>> print(InvalidArgument('warmup', 3, 'lower warmup', reason='leaves none of the 3 epochs'))
    warmup=3 leaves none of the 3 epochs; lower warmup
    """

    def __init__(self, name: str, value: object, remedy: str, *, reason: str | None = None) -> None:
        self.name, self.value, self.remedy, self.reason = name, value, remedy, reason
        super().__init__(str(self))

    def __str__(self) -> str:
        return f'{self.name} {self.predicate}' if self.reason is None else f'{self._subject} {self.predicate}'

    def __reduce__(self) -> tuple[object, ...]:
        # A plain exception is pickled by its message alone, with which this one cannot be made again.
        return _again, (type(self), self.name, self.value, self.remedy, self.reason)

    @property
    def predicate(self) -> str:
        """The sentence without its subject, for a place that names the argument already."""
        return f'must {self.remedy}, not {self.value!r}' if self.reason is None else f'{self.reason}; {self.remedy}'

    @property
    def _subject(self) -> str:
        """What the reason is said of."""
        return f'{self.name}={self.value!r}'


class InvalidFile(InvalidArgument):
    """An argument names a file that cannot be used; the sentence is about the file.

    Examples
    --------
    >>> print(InvalidFile('pretrained', 'tester.pt', 'pre-train again', reason='is damaged'))
    tester.pt is damaged; pre-train again
    """

    @property
    def _subject(self) -> str:
        return str(self.value)


class DivergedError(ValueError):
    """Training has left the finite numbers.

    Parameters
    ----------
    reason
        What has diverged, and how it shows.
    remedy
        What to do.
    network
        The network that has diverged, where there are several: ``'generator'`` or ``'auxiliary'``, for instance.
    """

    def __init__(self, reason: str, remedy: str, network: str = '') -> None:
        self.reason, self.remedy, self.network = reason, remedy, network
        super().__init__(reason, remedy, network)

    def __str__(self) -> str:
        return f'{self.reason}; {self.remedy}'


def _again(
    kind: type[InvalidArgument], name: str, value: object, remedy: str, reason: str | None
) -> InvalidArgument:
    """Make an error from its parts, as unpickling needs it."""
    return kind(name, value, remedy, reason=reason)
