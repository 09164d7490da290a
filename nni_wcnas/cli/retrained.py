"""Where a run keeps its retrained network."""

from __future__ import annotations

from nni_wcnas.cli.problems import CommandError
from nni_wcnas.evaluation.recording import RunDirectory
from nni_wcnas.evaluation.retraining import with_stem
from nni_wcnas.spaces.architecture import load_architecture

__all__ = ['retrained']


def retrained(run: RunDirectory) -> RunDirectory:
    """The run, or the retraining inside the run of a search or a trial.

    Raises
    ------
    CommandError
        When there is no retrained network, or half of one.
    """
    inner = RunDirectory(run.path / 'retraining')
    settings = run.read_settings()
    if 'retrain' in settings and inner.checkpoint.exists():
        if not inner.settings.exists():
            inner.write_architecture(with_stem(load_architecture(run.architecture), settings['retrain'].get('stem')))
            inner.write_settings(settings)
        return inner
    if not run.checkpoint.exists():
        raise CommandError(f'{run.path} holds no retrained network; make one with `nni-wcnas retrain`')
    if not run.settings.exists():
        raise CommandError(
            f'{run.settings} is missing beside a checkpoint; restore it, or make another with `nni-wcnas retrain`'
        )
    if not isinstance(settings.get('retrain'), dict):
        raise CommandError(f'{run.settings} describes no retraining; make one with `nni-wcnas retrain`')
    return run
