"""``nni-wcnas pretrain``: pre-training of the settings' tester and auxiliary model."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning

from nni_wcnas.cli.folder import make_folder
from nni_wcnas.contracts import Auxiliary, Batch
from nni_wcnas.data import ImageData
from nni_wcnas.errors import DivergedError
from nni_wcnas.settings import assembly
from nni_wcnas.settings.problems import CommandError
from nni_wcnas.settings.schema import Settings
from nni_wcnas.tester import GAN, ImagePolicy, make_auxiliary, pretrain, storage

__all__ = ['pretrain_tester', 'pretraining_data', 'train']

_LENGTHS = ('steps', 'epochs')


def pretrain_tester(
    settings: Settings, out: str | Path, steps: int | None = None, *, resume: bool = False, **options: Any
) -> dict[str, float]:
    """Pre-train tester and auxiliary model on the weights' half of the data, for the settings' ``tester.pretrained``.

    Parameters
    ----------
    settings
        Checked settings; their ``pretraining`` and ``auxiliary`` hold what no option says.
    out
        The file to write.
    steps
        Steps of the generator; None takes the settings'.
    resume
        Whether to go on from the file.
    **options
        Options of :func:`nni_wcnas.tester.pretrain`: ``epochs``, ``auxiliary_steps``, ``auxiliary_epochs``, ``lr``,
        ``discriminator_steps``, ``top_k``, ``core_set``; one that is None is taken from the settings.

    Returns
    -------
    dict
        The last losses, and as ``seconds_generator`` and ``seconds_auxiliary`` what both took, with all resumes.

    Raises
    ------
    CommandError
        When the file exists and is not resumed, it was made with other settings, or an option does nothing.
    """
    out = Path(out)
    given = {name: value for name, value in {'steps': steps, **options}.items() if value is not None}
    if out.is_dir():
        raise CommandError(f'{out} is a folder; name a file in it, e.g. {out / "tester.pt"}')
    if out.exists() and not resume:
        raise CommandError(f'{out} exists; continue it with --resume, or name another file')
    data = pretraining_data(settings)
    # Before the networks are built: their weights are drawn from this state.
    pytorch_lightning.seed_everything(settings.pretraining.seed_of(settings), verbose=False)
    try:
        # `pretrained: auto` of the settings loads no file here: this command makes one.
        tester = assembly.make_tester(settings, data)
        if not isinstance(tester, GAN | ImagePolicy):
            raise CommandError(f'{type(tester).__name__} has nothing to pre-train; leave this step out')
        if isinstance(tester, ImagePolicy):  # Only its auxiliary model is trained.
            _refuse_idle(given, type(tester).__name__)
        auxiliary = make_auxiliary(assembly.auxiliary_arguments(settings), tester)
    except ValueError as error:
        raise CommandError(str(error)) from error
    make_folder(out.parent, 'name another file')
    # Options of the command line go over the settings.
    numbers = {**_written(settings, isinstance(tester, GAN), given), **given}
    # `--resume` may also be the first start: then there is no file to go on from.
    losses = train(settings, data, tester, auxiliary, out, numbers, resume=resume and out.exists())
    return {**losses, **{f'seconds_{name}': value for name, value in storage.read(out)['seconds'].items()}}


def pretraining_data(settings: Settings, data: ImageData | None = None) -> ImageData:
    """Return the data with the seed and batch size of pre-training: the given data, if they have these already."""
    numbers = settings.pretraining
    changes: dict[str, Any] = {} if numbers.batch_size is None else {'batch_size': numbers.batch_size}
    if data is not None and not changes and numbers.seed_of(settings) == settings.seed:
        return data
    section = {**settings.data, **changes}
    return assembly.make_data(settings.model_copy(update={'data': section, 'seed': numbers.seed_of(settings)}))


def train(
    settings: Settings,
    data: ImageData,
    tester: GAN | ImagePolicy,
    auxiliary: Auxiliary | None,
    file: Path,
    numbers: Mapping[str, Any],
    *,
    resume: bool,
    rate: str = '--lr',
) -> dict[str, float]:
    """Train generator and auxiliary model on the search's device, and write their file.

    Parameters
    ----------
    settings
        Checked settings.
    data
        The data of pre-training.
    tester, auxiliary
        The networks to train.
    file
        The file to write, and to resume from.
    numbers
        Arguments of :func:`nni_wcnas.tester.pretrain`.
    resume
        Whether to go on from the file.
    rate
        What the user calls the learning rate of Adam, for messages.

    Returns
    -------
    dict
        The last losses.

    Raises
    ------
    CommandError
        When a number or the file is wrong, or training diverges.
    """
    device = assembly.device(settings)

    def batches(epoch: int) -> Iterable[Batch]:
        """Return the batches of an epoch of the weights' half."""
        data.set_epoch(epoch)
        return data.train_dataloader()

    try:
        return pretrain(
            tester.to(device),
            None if auxiliary is None else auxiliary.to(device),
            batches,
            checkpoint=file,
            resume=resume,
            progress=sys.stderr.isatty(),
            **numbers,
        )
    # Before ValueError, of which it is a kind. The rate has another name here than in the error's own remedy.
    except DivergedError as error:
        lr = numbers.get('lr')
        if error.network == 'auxiliary':
            raise CommandError(f'{error.reason}; lower auxiliary.lr from {settings.auxiliary.lr:g}') from error
        raise CommandError(f'{error.reason}; lower {rate}' + (f' from {lr:g}' if lr else '')) from error
    except ValueError as error:
        raise CommandError(str(error)) from error
    finally:
        data.set_epoch(0)  # The data may be the search's, which begins with epoch 0.


def _written(settings: Settings, is_gan: bool, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of the settings that act, without a length whose other form is given.

    Parameters
    ----------
    settings
        Checked settings.
    is_gan
        Whether there is a generator.
    given
        Options of the command line: a length in steps there replaces one in epochs, and the other way round.
    """
    found = settings.pretraining.numbers() if is_gan else {}
    of_auxiliary = {name: getattr(settings.auxiliary, name) for name in _LENGTHS}
    # Without a generator the lengths of `pretraining` are the auxiliary model's.
    if not is_gan and not any(of_auxiliary.values()):
        of_auxiliary = {name: getattr(settings.pretraining, name) for name in _LENGTHS}
    found |= {f'auxiliary_{name}': value for name, value in of_auxiliary.items()}
    for prefix in ('', 'auxiliary_'):
        if any(f'{prefix}{name}' in given for name in _LENGTHS):
            found = {key: value for key, value in found.items() if key not in {f'{prefix}{name}' for name in _LENGTHS}}
    return found


def _refuse_idle(given: Mapping[str, Any], tester: str) -> None:
    """Refuse options of a generator, where the tester has none."""
    for name in given:
        if not name.startswith('auxiliary_'):
            option = f'--{name.replace("_", "-")}'
            raise CommandError(
                f'{option} is of a generator, and {tester} has none; leave it out, or give --auxiliary-steps'
            )
