"""What the search of an architecture took, from its files; a retraining elsewhere keeps a copy in its settings."""

from __future__ import annotations

from typing import Any

from nni_wcnas.files.run_directory import RunDirectory

__all__ = ['search_cost', 'search_seconds']

_KEYS = ('search_seconds', 'pretraining_seconds', 'search_memory')
_PARTS = {'tester': 'generator_seconds', 'auxiliary': 'auxiliary_seconds'}
"""Files that a search began with, and what they took, by their keys in its settings."""


def search_cost(run: RunDirectory) -> dict[str, float]:
    """Seconds of a search with its pre-training, and its memory in bytes where a trial has measured it; empty where
    nothing is known.

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
    known = {key: value for key, value in run.read_measures().items() if key in _KEYS}
    return search_seconds(run) | known


def search_seconds(run: RunDirectory) -> dict[str, float]:
    """Seconds of a search by its own files: of all epochs and of the pre-training before them, and of the latter.

    As in papers/wcnas (section 3.3), the pre-training of generator and auxiliary model counts, also where a search took
    files that were there. Those of a file that does not know how long it took are left out.
    """
    seconds = sum(row.get('seconds', 0.0) for row in run.read_history())
    if not seconds:
        return {}
    before = _before(run.read_settings().get('pretrained'))
    return {'search_seconds': seconds + (before or 0.0)} | ({} if before is None else {'pretraining_seconds': before})


def _before(told: Any) -> float | None:
    """Of what a run has written of its files; None where a file did not know."""
    if not isinstance(told, dict):
        return 0.0
    parts = [told.get(seconds) for part, seconds in _PARTS.items() if part in told]
    known = [float(part) for part in parts if isinstance(part, (int, float))]
    return sum(known) if len(known) == len(parts) else None
