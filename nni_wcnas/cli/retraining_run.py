"""Finding the retrained network of a run, and the data set that it was trained on."""

from __future__ import annotations

from pathlib import Path

from nni_wcnas.data import ImageData
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.options import build
from nni_wcnas.page.run_pictures import write_architecture
from nni_wcnas.retrain.retraining import with_stem
from nni_wcnas.settings.problems import CommandError, for_settings
from nni_wcnas.spaces.architecture import load_architecture

__all__ = ['data_of', 'find_retraining']


def find_retraining(run: RunDirectory) -> RunDirectory:
    """Return the run of a retraining: the given one, or the one inside the run of a search or a trial.

    Raises
    ------
    CommandError
        When there is no retrained network, or a file of it is missing.
    """
    inner = RunDirectory(run.path / 'retraining')
    settings = run.read_settings()
    # A search has a checkpoint of its own, which is a supernet's: the retraining inside goes first.
    if 'retrain' in settings and inner.checkpoint.exists():
        # A trial retrains its cell without writing these two files. Made here, they make its folder a run of its own.
        if not inner.settings.exists():
            found = with_stem(load_architecture(run.architecture), settings['retrain'].get('stem'))
            write_architecture(inner, found)
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


def data_of(run: RunDirectory, root: str | Path | None = None) -> ImageData:
    """Build the data set of a retraining, as its settings describe it.

    Parameters
    ----------
    run
        The run of the retraining.
    root
        Where the data are now, if they were moved; None takes the settings' place. The settings stay as they are.

    Raises
    ------
    CommandError
        When the settings name no data set, or it cannot be read.
    """
    section = run.read_settings().get('data')
    if not isinstance(section, dict) or 'name' not in section:
        raise CommandError(f'{run.settings} has no data with a name; restore it, or retrain into another folder')
    arguments = dict(section)
    if root is not None:
        if 'root' not in arguments:
            raise CommandError(f'the data {section["name"]} of {run.settings} lie in no folder; leave the folder out')
        arguments['root'] = str(Path(root).expanduser())
    try:
        return build('data', arguments.pop('name'), **arguments)
    except ValueError as error:
        raise CommandError(f'{run.settings}: data: {for_settings(error)}') from error
    except TypeError as error:
        raise CommandError(f'{run.settings}: data: {for_settings(error)}; restore it, or retrain into another '
                           'folder') from error
