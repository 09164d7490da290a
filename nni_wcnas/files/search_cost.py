"""How long the search of an architecture took, and its memory, read from the files of its run.

A retraining in another folder than its search keeps a copy in its settings, under ``search_cost``.
"""

from __future__ import annotations

from typing import Any

from nni_wcnas.files.run_directory import RunDirectory

__all__ = ['search_cost', 'search_seconds']

_KEYS = ('search_seconds', 'pretraining_seconds', 'search_memory')
"""Measures that say what a search took: seconds in all, seconds of its pre-training, and bytes."""
_PARTS = {'tester': 'generator_seconds', 'auxiliary': 'auxiliary_seconds'}
"""Key of the seconds that each pre-trained file took, by the file's key; both stand under ``pretrained``."""


def search_cost(run: RunDirectory) -> dict[str, float]:
    """Return what a search took: seconds with its pre-training, and memory in bytes where a trial has measured it.

    Parameters
    ----------
    run
        The run of a search or of a trial; or of a retraining, whose settings may hold the cost under ``search_cost``,
        and which otherwise asks the run that it lies in.

    Returns
    -------
    dict
        ``search_seconds``, ``pretraining_seconds`` and ``search_memory``, as far as they are known.

    Raises
    ------
    RecordError
        If a file is damaged.
    """
    settings = run.read_settings()
    told = settings.get('search_cost')
    if isinstance(told, dict):
        return {key: float(value) for key, value in told.items() if key in _KEYS and isinstance(value, (int, float))}
    # Before the settings of a trial are asked: those in a trial's retraining name its search, too.
    if run.path.resolve().name == 'retraining':
        return search_cost(RunDirectory(run.path.resolve().parent))
    if 'search' not in settings:  # No search: the cost is not known.
        return {}
    # A trial measures its peak of memory; a search by itself does not.
    known = {key: value for key, value in run.read_measures().items() if key in _KEYS}
    # What a trial has measured goes over what the rows say; only the memory is not in the rows.
    return search_seconds(run) | known


def search_seconds(run: RunDirectory) -> dict[str, float]:
    """Return the seconds of a search by its own files: those of all epochs and of the pre-training before them.

    As in papers/wcnas (section 3.3), the pre-training of generator and auxiliary model counts, also where a search took
    files that were there already. If one of the files does not know how long it took, no pre-training is counted.

    Returns
    -------
    dict
        ``search_seconds``, and ``pretraining_seconds`` where all files know theirs; empty before the first epoch's end.
    """
    seconds = sum(row.get('seconds', 0.0) for row in run.read_history())
    if not seconds:
        return {}
    before = _before(run.read_settings().get('pretrained'))
    return {'search_seconds': seconds + (before or 0.0)} | ({} if before is None else {'pretraining_seconds': before})


def _before(told: Any) -> float | None:
    """Add up the seconds that the pre-trained files of a run took.

    Parameters
    ----------
    told
        What the run's settings say under ``pretrained``; anything but a map means that there were no such files.

    Returns
    -------
    float or None
        0 without files; None where one of them does not know.
    """
    if not isinstance(told, dict):
        return 0.0
    parts = [told.get(seconds) for part, seconds in _PARTS.items() if part in told]
    known = [float(part) for part in parts if isinstance(part, (int, float))]
    return sum(known) if len(known) == len(parts) else None
