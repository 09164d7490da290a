"""``pretrained: auto``: what is missing is made once, before the search, and kept for every later one.

There are two kinds of files in the cache folder: of a generator, and of an auxiliary model. The name of each holds all
that it depends on, hashed, so that searches which agree in that share it: a classifier of timm does not depend on the
tester, a tied one does. A lock lets one of several trials make it, and a file that is not complete is gone on with.
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
"""Raise it with every change that changes the files."""
_WORDS = {'generator': 'generator', 'auxiliary': 'auxiliary model'}


def with_pretrained_files(
    settings: Settings, data: ImageData, strategy: Search, known: Mapping[str, Any]
) -> tuple[Settings, dict[str, Any]]:
    """Put files in the place of ``auto``, made where they are missing.

    Parameters
    ----------
    settings
        Checked settings.
    data
        Of the search.
    strategy
        Of the search: what its objective does not need is not made.
    known
        What an interrupted run has written of its files: these are taken again, if they are still there.

    Returns
    -------
    The settings, and what a run writes of them: the files and the seconds that these took.

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
    is_automatic, is_gan = tester.get('pretrained') == AUTO, issubclass(kind, GAN)
    if is_automatic:
        tester['pretrained'] = _generator(settings, data, known) if is_gan else None
    settings = settings.model_copy(update={'tester': tester})
    if auxiliary.pretrained == AUTO or (is_automatic and auxiliary.pretrained is None):
        file = _auxiliary(settings, data, known) if objective.needs_auxiliary else None
        settings = settings.model_copy(update={'auxiliary': auxiliary.model_copy(update={'pretrained': file})})
    return settings, _described(settings, is_gan, objective.needs_auxiliary)



def _generator(settings: Settings, data: ImageData, known: Mapping[str, Any]) -> str:
    """The file of the generator that the settings describe."""
    numbers = settings.pretraining.numbers()
    tester = cast(GAN, assembly.make_tester(settings, data))
    depends_on = {
        'kind': type(tester).__name__,
        'settings': tester.pretraining_settings(),
        'recipe': [tester.recipe.lr, list(tester.recipe.betas), tester.recipe.discriminator_steps],
        'numbers': {**numbers, 'steps': numbers['steps'] or (None if numbers['epochs'] else STEPS)},
    }

    def networks() -> tuple[GAN, None]:
        return cast(GAN, assembly.make_tester(settings, data)), None

    return _made('generator', settings, data, depends_on, networks, numbers, known.get('tester'))


def _auxiliary(settings: Settings, data: ImageData, known: Mapping[str, Any]) -> str:
    """The file of the auxiliary model; a tied one learns beside the generator's file, any other by itself."""
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
        beside = AugmentationPolicy(data.num_classes, image_size=data.image_size)
        made: Any = assembly.make_tester(settings, data) if name == 'tied' else beside
        made.pretrained = None  # Whose own auxiliary model is not this one.
        return made, make_auxiliary({**arguments, 'pretrained': None}, made)

    steps = {'steps': 0} if name == 'tied' else {}
    return _made('auxiliary', settings, data, depends_on, networks, {**steps, **numbers}, known.get('auxiliary'))


def _auxiliary_steps(settings: Settings, data: ImageData) -> int:
    """Its own length, else that of the generator."""
    kind, numbers, auxiliary = assembly.tester_kind(settings), settings.pretraining, settings.auxiliary
    recipe = kind.recipe if issubclass(kind, GAN) else None
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
    """A file that is complete: the known one, that of the cache, or a new one there."""
    if known is not None and _is_whole(Path(known)):
        return known
    images, seed = pretraining_data(settings, data), settings.pretraining.seed_of(settings)
    everything = {
        'version': _VERSION,
        'torch': torch.__version__,
        'device': assembly.device(settings),
        'seed': seed,
        'data': _identity(images),
        **depends_on,
    }
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder()
    file, partial = (folder / f'{what}-{data.name}-{digest}.{suffix}' for suffix in ('pt', 'partial.pt'))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f'{file}.lock'):
            if not _is_whole(file):
                print(f'pre-training of the {_WORDS[what]}, once: {file}', file=sys.stderr, flush=True)
                pytorch_lightning.seed_everything(seed, verbose=False)
                train(settings, images, *networks(), partial, numbers, resume=True, rate='pretraining.lr')
                partial.replace(file)
    except OSError as error:
        raise CommandError(
            f'the cache folder {folder} cannot be used ({error.strerror or error}); set NNI_WCNAS_CACHE to another'
        ) from error
    return str(file)


def _is_whole(file: Path) -> bool:
    """Whether the cache holds it, undamaged: a copy that was cut off is made again."""
    try:
        storage.read(file)
    except FileNotFoundError:
        return False
    except ValueError as error:
        print(f'{error}', file=sys.stderr, flush=True)
        return False
    return True


def _identity(data: ImageData) -> dict[str, Any]:
    """All of the data that pre-training depends on: which images, and in which batches."""
    return {
        'images': data.images.train.fingerprint(),
        'chosen': hashlib.sha256(data.weight_indices.numpy().data).hexdigest(),
        'size': data.image_size,
        'classes': data.num_classes,
        'batch_size': data.batch_size,
        'seed': data.seed,
    }


def _origin(settings: Settings, data: ImageData) -> dict[str, Any]:
    """What a tied model learns beside: a structure, and a file by what it was made of, else by its bytes."""
    tester = cast(GAN, assembly.make_tester(settings, data))
    found: dict[str, Any] = {'kind': type(tester).__name__, 'settings': tester.pretraining_settings(), 'file': None}
    if tester.pretrained is not None:
        path = Path(tester.pretrained)
        is_cached = path.resolve().parent == cache_folder().resolve()
        found['file'] = path.name if is_cached else hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _described(settings: Settings, is_gan: bool, has_auxiliary: bool) -> dict[str, Any]:
    """The files of a search, and the seconds that each took, as far as the files know them."""
    found: dict[str, Any] = {}
    own = (settings.tester or {}).get('pretrained')
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
