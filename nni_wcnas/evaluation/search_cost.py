"""What the search of an architecture took, from its files; a retraining elsewhere keeps a copy in its settings."""

from __future__ import annotations

from nni_wcnas.evaluation.recording import RunDirectory

__all__ = ['search_cost']

_KEYS = ('search_seconds', 'search_memory')


def search_cost(run: RunDirectory) -> dict[str, float]:
    """Seconds of a search, and its memory in bytes where a trial has measured it; empty where nothing is known.

    Parameters
    ----------
    run
        Of the search or a trial; or a retraining, whose settings may say it under ``search_cost``, and which else asks
        the run that it lies in.

    Raises
    ------
    RecordError
        If a file is damaged.
    """
    settings = run.read_settings()
    told = settings.get('search_cost')
    if isinstance(told, dict):
        return {key: float(value) for key, value in told.items() if key in _KEYS and isinstance(value, (int, float))}
    if run.path.resolve().name == 'retraining':
        return search_cost(RunDirectory(run.path.resolve().parent))
    if 'search' not in settings:
        return {}
    seconds = sum(row.get('seconds', 0.0) for row in run.read_history())
    known = {key: value for key, value in run.read_measures().items() if key in _KEYS}
    return ({'search_seconds': seconds} if seconds else {}) | known
