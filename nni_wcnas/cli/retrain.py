"""``nni-wcnas retrain``: train a found architecture from scratch, into a run folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from nni_wcnas.cli.folder import make_folder
from nni_wcnas.data import ImageData
from nni_wcnas.data.identity import DataIdentity, check_identity, identify, keep_identity
from nni_wcnas.data.image_check import check_images
from nni_wcnas.files.batch_settings import batch_settings
from nni_wcnas.files.run_directory import RunDirectory
from nni_wcnas.files.search_cost import search_cost
from nni_wcnas.network.build import find_architecture
from nni_wcnas.options import build, option
from nni_wcnas.page.report import write_report
from nni_wcnas.page.run_pictures import write_architecture
from nni_wcnas.retrain.devices import check_devices
from nni_wcnas.retrain.recipe import make_recipe, named_recipe
from nni_wcnas.retrain.retraining import RetrainingError, prepare, train, with_stem
from nni_wcnas.settings.assembly import has_gpu
from nni_wcnas.settings.document import Document, parse_value
from nni_wcnas.settings.members import arguments_of, check_arguments
from nni_wcnas.settings.problems import CommandError, SettingsError, for_settings
from nni_wcnas.settings.schema import versions

__all__ = ['retrain_architecture']


def retrain_architecture(
    architecture: str | Path,
    data: str,
    path: str | Path,
    numbers: Mapping[str, Any],
    *,
    recipe: str | None = None,
    part: Literal['train', 'weights'] = 'train',
    resume: bool = False,
    devices: int = 1,
    cpu: bool = False,
) -> RunDirectory:
    """Train a found architecture from scratch into a run folder.

    Parameters
    ----------
    architecture
        The architecture's file, the run folder that holds it, or the name of a published cell.
    data
        The data set's name, or a YAML map of its name and arguments. A named recipe fills in what the map leaves out
        and the data set takes.
    path
        Path of the run folder.
    numbers, recipe, part, resume, devices
        As in :func:`nni_wcnas.retrain.retraining.retrain`.
    cpu
        Whether to use no GPU.

    Raises
    ------
    CommandError
        When the architecture, the data or a number is wrong, or the run exists or cannot be resumed.
    """
    found = find_architecture(architecture)
    section = _data_section(data)
    run = RunDirectory(path)
    try:
        chosen = make_recipe(recipe, **numbers)
        if recipe is not None:
            section = {**_taken(section['name'], named_recipe(recipe).data), **section}
        # All numbers are written, defaults included: later releases may have other defaults.
        told = {**asdict(chosen), 'part': part, 'devices': devices}
        settings = {'data': section, 'recipe': recipe, 'retrain': told, 'versions': versions(), **_cost(architecture)}
        loaded = _data(section)
        identity = identify(loaded)
        if run.checkpoint.exists():
            _check_goes_on(run, section, identity, resume=resume)
        # The file beside the weights shall describe the network that is trained, not the one that was searched.
        found = with_stem(found, chosen.stem)
        # All checks are made before anything is written, so that a refused command leaves the run as it was.
        _check_devices(devices, cpu, loaded)
        job = prepare(
            found,
            loaded,
            chosen,
            part=part,
            directory=run.path,
            resume=resume,
            accelerator='cpu' if cpu or not has_gpu() else 'gpu',
            devices=devices,
            progress=sys.stderr.isatty(),
        )
        check_images(loaded)
        make_folder(run.path, 'give another with --run')
        keep_identity(run.path, identity)
        write_architecture(run, found)
        run.write_settings(settings)
        train(job)
    # Before ValueError, of which it is a kind.
    except RetrainingError as error:
        raise CommandError(str(error)) from error
    except ValueError as error:
        raise CommandError(for_settings(error)) from error
    write_report(run, title=f'Retraining {run.path.resolve().name}')
    return run


def _check_devices(devices: int, cpu: bool, data: ImageData) -> None:
    """Refuse a number of devices as Python's callers are refused, with the command's own remedy in the message."""
    try:
        check_devices(devices, 'cpu' if cpu else 'gpu', data)
    except ValueError as error:
        raise CommandError(for_settings(error).replace("accelerator='cpu'", '--cpu')) from error


def _check_goes_on(run: RunDirectory, section: Mapping[str, Any], identity: DataIdentity, *, resume: bool) -> None:
    """Refuse a run that was trained already, unless it is to be resumed and on the same data.

    Before the checkpoint is read: that knows some facts of the data only, the files beside it all of them.
    """
    if not resume:
        raise CommandError(f'{run.path} holds a retraining already; continue it with --resume, or give another --run')
    _check_batch_settings(run, section)
    check_identity(run.path, identity)


def _check_batch_settings(run: RunDirectory, section: Mapping[str, Any]) -> None:
    """Refuse to go on with other images than those that a retraining began with."""
    earlier = run.read_settings().get('data')
    if not isinstance(earlier, dict):
        raise CommandError(
            f'{run.settings} does not tell what the checkpoint beside it was trained on; restore it, or give another '
            '--run'
        )
    before, now = batch_settings(earlier), batch_settings(section)
    for key in sorted(before.keys() | now.keys()):
        was, given = before.get(key), now.get(key)
        if was != (list(given) if isinstance(given, tuple) else given):  # A settings file holds a list for a tuple.
            raise CommandError(
                f'{run.settings} was made with data.{key}={was!r}, not {given!r}; give the same, or another --run'
            )


def _cost(source: str | Path) -> dict[str, dict[str, float]]:
    """Return what the search of an architecture took, if that is known, for the settings of its retraining."""
    path = Path(source)
    if path.is_file() and path.name != 'architecture.json':  # A file that lies in no run.
        return {}
    cost = search_cost(RunDirectory(path.parent if path.is_file() else path))
    return {'search_cost': cost} if cost else {}


def _data_section(text: str) -> dict[str, Any]:
    """Read the argument ``--data``, a name or a YAML map, and check it as a settings file's section.

    Raises
    ------
    SettingsError
        With all mistakes, one line each.
    """
    value = parse_value(text)
    section = value if isinstance(value, dict) else {'name': value}
    place = f'--data {text}'
    document = Document({'data': section}, {(): place}, Path.cwd())
    if 'name' not in section:
        raise SettingsError([document.problem('has no name; add it, e.g. `name: digits`', 'data')])
    try:
        factory = option('data', section['name']).factory
    except ValueError as error:
        raise SettingsError([document.problem(str(error), 'data', 'name')]) from error
    problems = check_arguments(
        document, ('data',), {key: part for key, part in section.items() if key != 'name'}, arguments_of(factory)
    )
    if problems:
        raise SettingsError(problems)
    if isinstance(section.get('root'), str):
        # The settings of the run are read later from other working directories.
        section['root'] = str(Path(section['root']).expanduser().resolve())
    return section


def _taken(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Select those arguments of a recipe that a data set takes; one in memory, for instance, has its own image size."""
    known = arguments_of(option('data', name).factory)
    return {key: value for key, value in arguments.items() if key in known}


def _data(section: dict[str, Any]) -> ImageData:
    """Build the data set of a section with a name and arguments."""
    arguments = dict(section)
    return build('data', arguments.pop('name'), **arguments)
