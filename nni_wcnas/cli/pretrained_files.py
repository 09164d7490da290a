"""``pretrained: auto``: what is missing is made once, before the search, and kept for every later one.

The cache folder holds two kinds of files: of a generator, and of an auxiliary model. The name of each holds a hash of
all that it depends on, so that searches which agree in that share it. A classifier of timm, for instance, does not
depend on the tester, and a tied one does. Of several trials at once a lock lets one make the file, and a file that was
left incomplete is gone on with.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytorch_lightning
import timm
import torch
from filelock import FileLock

from nni_wcnas.cli.pretrain import pretraining_data, train
from nni_wcnas.contracts import Auxiliary
from nni_wcnas.data import ImageData
from nni_wcnas.data.cache import cache_folder
from nni_wcnas.settings import assembly
from nni_wcnas.settings.problems import CommandError
from nni_wcnas.settings.schema import AUTO, Settings
from nni_wcnas.strategy import Search
from nni_wcnas.tester import GAN, AugmentationPolicy, ImagePolicy, make_auxiliary, storage
from nni_wcnas.tester.pretraining_lengths import STEPS, lengths

__all__ = ['with_pretrained_files']

_VERSION = 1
"""Version of the files, which is part of their names; a change to pre-training that changes them raises it."""
_WORDS = {'generator': 'generator', 'auxiliary': 'auxiliary model'}
"""Kinds of files in words, for messages."""


def with_pretrained_files(
    settings: Settings, data: ImageData, strategy: Search, known: Mapping[str, Any]
) -> tuple[Settings, dict[str, Any]]:
    """Put files in the place of ``auto`` in the settings, and make those that are missing.

    Parameters
    ----------
    settings
        Checked settings.
    data
        Data of the search.
    strategy
        Strategy of the search: what its objective does not need is not made.
    known
        What an interrupted run has written about its files; these are taken again, if they are still there.

    Returns
    -------
    tuple
        The settings with files, and what a run writes about them: their paths, and the seconds that they took.

    Raises
    ------
    CommandError
        When pre-training diverges, or a file or the cache folder cannot be used.
    """
    objective = strategy.objective
    if not objective.needs_tester:
        return settings, {}
    tester: dict[str, Any] = dict(settings.tester or assembly.DEFAULT_TESTER)
    auxiliary, kind = settings.auxiliary, assembly.tester_kind(settings)
    # Only a GAN has weights to pre-train; a policy has none, so its `auto` is about the auxiliary model.
    is_automatic, is_gan = tester.get('pretrained') == AUTO, issubclass(kind, GAN)
    if is_automatic:
        # First the generator: a tied auxiliary model learns beside its file.
        tester['pretrained'] = _generator(settings, data, known) if is_gan else None
    settings = settings.model_copy(update={'tester': tester})
    # The tester's `auto` means both files, unless the auxiliary model names one of its own.
    if auxiliary.pretrained == AUTO or (is_automatic and auxiliary.pretrained is None):
        file = _auxiliary(settings, data, known) if objective.needs_auxiliary else None
        settings = settings.model_copy(update={'auxiliary': auxiliary.model_copy(update={'pretrained': file})})
    return settings, _described(settings, is_gan, objective.needs_auxiliary)



def _generator(settings: Settings, data: ImageData, known: Mapping[str, Any]) -> str:
    """Return the path of the generator's file that the settings describe, made if it is missing."""
    numbers = settings.pretraining.numbers()
    tester = cast(GAN, assembly.make_tester(settings, data))
    # All numbers that change the weights, written out: a number that is not given is the recipe's or the default.
    depends_on = {
        'kind': type(tester).__name__,
        'settings': tester.pretraining_settings(),
        'recipe': [tester.recipe.lr, list(tester.recipe.betas), tester.recipe.discriminator_steps],
        'numbers': {**numbers, 'steps': numbers['steps'] or (None if numbers['epochs'] else STEPS)},
    }

    def networks() -> tuple[GAN, None]:
        """Build the generator anew: its weights must be drawn after the seed of pre-training is set."""
        return cast(GAN, assembly.make_tester(settings, data)), None

    return _made('generator', settings, data, depends_on, networks, numbers, known.get('tester'))


def _auxiliary(settings: Settings, data: ImageData, known: Mapping[str, Any]) -> str:
    """Return the path of the auxiliary model's file, made if it is missing.

    A tied model learns beside the generator's file, any other one by itself.
    """
    auxiliary, arguments = settings.auxiliary, assembly.auxiliary_arguments(settings)
    name, width = arguments['name'], arguments['width']
    numbers = {'auxiliary_steps': _auxiliary_steps(settings, data)}
    rates = auxiliary.model_dump(include={'lr', 'momentum', 'weight_decay', 'gradient_clip_val'})
    depends_on: dict[str, Any] = {'name': name, 'rates': rates, 'numbers': numbers, 'beside': None}
    if name == 'tied':
        depends_on['beside'] = _origin(settings, data)
    else:
        depends_on |= {'timm': timm.__version__} | ({} if width is None else {'width': width})

    def networks() -> tuple[GAN | ImagePolicy, Auxiliary]:
        """Build the auxiliary model and what it learns beside; a policy stands in where it needs no tester."""
        beside = AugmentationPolicy(data.num_classes, image_size=data.image_size)
        made: Any = assembly.make_tester(settings, data) if name == 'tied' else beside
        # The generator's file may hold an auxiliary model, too, which is not the one that is made here.
        made.pretrained = None
        return made, make_auxiliary({**arguments, 'pretrained': None}, made)

    steps = {'steps': 0} if name == 'tied' else {}  # The generator itself does not learn here.
    return _made('auxiliary', settings, data, depends_on, networks, {**steps, **numbers}, known.get('auxiliary'))


def _auxiliary_steps(settings: Settings, data: ImageData) -> int:
    """Return the steps of the auxiliary model's pre-training: its own length, or else that of the generator."""
    kind, numbers, auxiliary = assembly.tester_kind(settings), settings.pretraining, settings.auxiliary
    recipe = kind.recipe if issubclass(kind, GAN) else None
    # Batches that one step of a generator uses up: one for each step of its discriminator, times the core set's factor.
    each = 1 if recipe is None else numbers.discriminator_steps or recipe.discriminator_steps
    return lengths(
        recipe is not None, True, steps=numbers.steps, epochs=numbers.epochs, auxiliary_steps=auxiliary.steps,
        auxiliary_epochs=auxiliary.epochs, batches_of_a_step=each * numbers.core_set,
        batches_of_an_epoch=lambda: len(pretraining_data(settings, data).train_dataloader()),
    ).auxiliary


def _made(
    what: str,
    settings: Settings,
    data: ImageData,
    depends_on: Mapping[str, Any],
    networks: Callable[[], tuple[GAN | ImagePolicy, Auxiliary | None]],
    numbers: Mapping[str, Any],
    known: str | None,
) -> str:
    """Return the path of a complete file: the known one, that of the cache, or a new one there.

    Parameters
    ----------
    what
        Kind of the file: ``'generator'`` or ``'auxiliary'``.
    settings, data
        Settings and data of the search.
    depends_on
        What the file depends on beside the data, the seed, the device and the versions.
    networks
        Builds the networks to train.
    numbers
        Arguments of pre-training.
    known
        Path that an interrupted run has written down.

    Raises
    ------
    CommandError
        When pre-training fails, or the cache folder cannot be used.
    """
    # A resumed run keeps its file, even if an update would now give it another name.
    if known is not None and _is_whole(Path(known)):
        return known
    images, seed = pretraining_data(settings, data), settings.pretraining.seed_of(settings)
    everything = {
        'version': _VERSION,
        # Other versions and devices round in other ways, so their weights are not the same to the last bit.
        'torch': torch.__version__,
        'device': assembly.device(settings),
        'seed': seed,
        'data': _identity(images),
        **depends_on,
    }
    # Sorted, so that the order of the keys makes no other file. 64 bits of the hash are enough to tell files apart.
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder()
    file, partial = (folder / f'{what}-{data.name}-{digest}.{suffix}' for suffix in ('pt', 'partial.pt'))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Asked again under the lock: another trial may have made the file while this one waited.
        with FileLock(f'{file}.lock'):
            if not _is_whole(file):
                print(f'pre-training of the {_WORDS[what]}, once: {file}', file=sys.stderr, flush=True)
                pytorch_lightning.seed_everything(seed, verbose=False)
                # Under another name until it is complete: what stands under the file's own name is whole.
                train(settings, images, *networks(), partial, numbers, resume=True, rate='pretraining.lr')
                partial.replace(file)  # At once, on one file system.
    except OSError as error:
        raise CommandError(
            f'the cache folder {folder} cannot be used ({error.strerror or error}); set NNI_WCNAS_CACHE to another'
        ) from error
    return str(file)


def _is_whole(file: Path) -> bool:
    """Tell whether there is an undamaged file; one that is damaged is reported, and will be made again."""
    try:
        storage.read(file)
    except FileNotFoundError:
        return False
    except ValueError as error:
        print(f'{error}', file=sys.stderr, flush=True)
        return False
    return True


def _identity(data: ImageData) -> dict[str, Any]:
    """Return all of the data that pre-training depends on: which images, and in which batches."""
    return {
        'images': data.images.train.fingerprint(),
        'chosen': hashlib.sha256(data.weight_indices.numpy().data).hexdigest(),
        'size': data.image_size,
        'classes': data.num_classes,
        'batch_size': data.batch_size,
        'seed': data.seed,
    }


def _origin(settings: Settings, data: ImageData) -> dict[str, Any]:
    """Return what a tied model learns beside: the generator's structure and its file.

    A file of the cache is told by its name, which holds a hash of all that it was made of; any other by its bytes.
    """
    tester = cast(GAN, assembly.make_tester(settings, data))
    found: dict[str, Any] = {'kind': type(tester).__name__, 'settings': tester.pretraining_settings(), 'file': None}
    if tester.pretrained is not None:
        path = Path(tester.pretrained)
        is_cached = path.resolve().parent == cache_folder().resolve()
        found['file'] = path.name if is_cached else hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _described(settings: Settings, is_gan: bool, has_auxiliary: bool) -> dict[str, Any]:
    """Return the files that a search begins with, and the seconds that each took, as far as the files know them."""
    found: dict[str, Any] = {}
    own = (settings.tester or {}).get('pretrained')
    # A file of the command `pretrain` holds both, so the tester's file may be the auxiliary model's as well.
    parts = {'tester': own if is_gan else None, 'auxiliary': settings.auxiliary.pretrained or own}
    for part, name in (('tester', 'generator'), ('auxiliary', 'auxiliary')):
        file = parts[part]
        if file is None or (part == 'auxiliary' and not has_auxiliary):
            continue
        contents = storage.read(file)
        if part == 'auxiliary' and contents['auxiliary'] is None:
            continue
        found[part] = str(file)
        seconds = contents.get('seconds', {}).get(name)
        found |= {} if seconds is None else {f'{name}_seconds': round(seconds, 3)}
    return found
