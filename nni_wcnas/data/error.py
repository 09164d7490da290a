"""The one error that the data modules raise for problems that a user can repair."""

__all__ = ['DataError']


class DataError(ValueError):
    """A data set, a file or an argument that cannot be used; the message names it and the remedy in one sentence."""
