"""The errors that users of the data modules can act on."""

from __future__ import annotations

from nni_wcnas.errors import InvalidArgument

__all__ = ['DataArgumentError', 'DataError']


class DataError(ValueError):
    """A data set, a file or an argument that cannot be used; the message names it and the remedy in one sentence."""


class DataArgumentError(InvalidArgument, DataError):
    """An argument of a data set, or of what reads one, that cannot be used."""
