"""From settings to the parts of a search: data, space, tester, strategy, evaluator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from nni.nas.hub.pytorch import NDS
from torch import Tensor

from nni_wcnas.contracts import Tester
from nni_wcnas.data import ImageData
from nni_wcnas.data.difficulty import hardest, load_difficulty
from nni_wcnas.data.reference import Reference
from nni_wcnas.data.training_transform import is_image_by_image
from nni_wcnas.evaluator import SearchEvaluator
from nni_wcnas.options import AXES, build, option
from nni_wcnas.schedule import with_lengths
from nni_wcnas.settings.composition import make_member, make_transforms
from nni_wcnas.settings.members import arguments_of
from nni_wcnas.settings.schema import AUTO, Settings
from nni_wcnas.strategy import Search
from nni_wcnas.tester import (
    SMALL_RESNET,
    AuxiliaryOptions,
    convolution_weights,
    default_auxiliary,
    fitting_width,
    follows_learner,
)

__all__ = [
    'DEFAULT_TESTER',
    'accelerator',
    'auxiliary_arguments',
    'check_difficulty',
    'device',
    'difficulty_scores',
    'hard_examples',
    'has_gpu',
    'is_auxiliary',
    'make_data',
    'make_evaluator',
    'make_space',
    'make_strategy',
    'make_tester',
    'tester_kind',
    'untouched_random_state',
]


DEFAULT_TESTER = {'name': 'augmentation_policy'}
"""Of settings without any."""


def make_data(settings: Settings) -> ImageData:
    """The data module; its batches follow the trial's seed unless the section has one of its own, and are made on the
    search's device where the images can be held there."""
    arguments = {'seed': settings.seed, **settings.data}
    name = arguments.pop('name')
    in_memory = getattr(option('data', name).factory, 'in_memory', False)
    is_on_cpu = arguments.get('num_workers') or is_image_by_image(arguments)
    if arguments.get('device') is None and in_memory and not is_on_cpu:
        arguments['device'] = device(settings)
    return build('data', name, **arguments)


def make_space(settings: Settings, data: ImageData) -> Any:
    """The model space, with as many classes as the data.

    Raises
    ------
    ValueError
        When the space cannot have them.
    """
    arguments = dict(settings.space)
    name = arguments.pop('name')
    factory = option('space', name).factory
    accepted = arguments_of(factory)
    for key in ('num_classes', 'num_labels'):
        if arguments.get(key, data.num_classes) != data.num_classes:
            raise ValueError(
                f'{key} is {arguments[key]}, but {data.name} has {data.num_classes} classes; leave {key} out'
            )
        if key in accepted:
            arguments[key] = data.num_classes
    if isinstance(arguments.get('num_cells'), (list, tuple)):
        raise ValueError('num_cells is a list, and a supernet of cells has one depth; give one number')
    classes = 1000 if arguments.get('dataset') == 'imagenet' else 10
    if isinstance(factory, type) and issubclass(factory, NDS) and data.num_classes != classes:
        raise ValueError(
            f"NNI's {factory.__name__} space has {classes} classes{' with dataset imagenet' if classes > 10 else ''} "
            f'and {data.name} has {data.num_classes}; use `name: darts`'
        )
    return factory(**arguments)


def make_tester(settings: Settings, data: ImageData) -> Tester:
    """The tester, with the resolution and the classes of the data; settings without one have the augmentation policy.

    Raises
    ------
    ValueError
        When the settings ask for others, or a value is out of range.
    """
    section = settings.tester or DEFAULT_TESTER
    arguments = {'num_classes': data.num_classes, 'image_size': data.image_size, **section}
    for key in ('num_classes', 'image_size'):
        if arguments[key] != getattr(data, key):
            raise ValueError(f'{key} is {arguments[key]}, but {data.name} has {getattr(data, key)}; leave {key} out')
    if arguments.get('pretrained') == AUTO:
        del arguments['pretrained']  # Made before a search, and not to look at the settings.
    name, pretrained = arguments.pop('name'), arguments.get('pretrained')
    if pretrained is not None and not Path(pretrained).is_file():
        raise ValueError(
            f'there is no pretrained file {pretrained}; make it with `nni-wcnas pretrain`, or write `pretrained: auto`'
        )
    return build('tester', name, **arguments)


def tester_kind(settings: Settings) -> type[Tester]:
    """The class of the tester."""
    kind: Any = option('tester', (settings.tester or DEFAULT_TESTER)['name']).factory
    return cast(type[Tester], kind)


def auxiliary_arguments(settings: Settings) -> AuxiliaryOptions:
    """What ``make_auxiliary`` is told, with the name that the tester has it by, and the width that fits the space."""
    found, kind = settings.auxiliary.arguments(), tester_kind(settings)
    if not follows_learner(found, kind):
        return {**found, 'name': found['name'] or default_auxiliary(kind)}
    arguments = dict(settings.space)
    with untouched_random_state():
        space = option('space', arguments.pop('name')).factory(**arguments)
    return {**found, 'name': SMALL_RESNET, 'width': fitting_width(convolution_weights(space))}


def make_strategy(settings: Settings) -> Search:
    """The method: a preset or the neutral members, with the members and numbers that the settings give.

    The schedule, whoever gives it, has the lengths of the search section.
    """
    arguments = dict(settings.method)
    preset = arguments.pop('preset', None)
    for axis in AXES:
        if axis in arguments:
            arguments[axis] = make_member(axis, arguments[axis])
    if 'transforms' in arguments:
        arguments['transforms'] = make_transforms(arguments['transforms'])
    factory = Search if preset is None else option('preset', preset).factory
    strategy = factory(**arguments)
    strategy.schedule = with_lengths(strategy.schedule, settings.search.epochs, settings.search.warmup)
    return strategy


def make_evaluator(settings: Settings, data: ImageData, strategy: Search, **trainer: Any) -> SearchEvaluator:
    """The evaluator, with a tester where the objective needs one."""
    numbers = settings.search.model_dump(exclude={'epochs', 'warmup'})
    tester = make_tester(settings, data) if strategy.objective.needs_tester else None
    return SearchEvaluator(
        data,
        tester=tester,
        auxiliary=auxiliary_arguments(settings) if tester is None or tester.has_hyperparameters else None,
        max_epochs=settings.search.epochs,
        **numbers,
        accelerator=accelerator(settings),
        devices=1,
        **trainer,
    )


def accelerator(settings: Settings) -> str:
    """Lightning's name of the device."""
    return {'auto': 'gpu' if has_gpu() else 'cpu', 'cuda': 'gpu', 'cpu': 'cpu'}[settings.device]


def device(settings: Settings) -> str:
    """Torch's name of the device."""
    return 'cuda' if accelerator(settings) == 'gpu' else 'cpu'


def difficulty_scores(settings: Settings, data: ImageData, reference: Reference | None) -> Tensor:
    """How hard each training example is, shape ``(N_train,)``: from a file, else from the reference models."""
    source = settings.difficulty
    if source.path is None:
        if reference is None:
            raise ValueError('difficulty has no path and there are no reference models; give one of them')
        return reference.train_scores
    return load_difficulty(source.path, data.images.train.labels, kind=source.kind, models=source.models).values


def hard_examples(settings: Settings, data: ImageData, scores: Tensor) -> Tensor:
    """Positions of the hardest examples of the architecture's half."""
    return hardest(scores, data.architecture_indices, settings.difficulty.share)


def check_difficulty(settings: Settings, data: ImageData) -> None:
    """Read the difficulty file, if there is one."""
    if settings.difficulty.path is not None:
        hard_examples(settings, data, difficulty_scores(settings, data, None))


def is_auxiliary(name: str | None) -> bool:
    """Whether there is an auxiliary model of this name; None leaves it to the tester."""
    if name in (None, 'tied', SMALL_RESNET):
        return True
    import timm

    return timm.is_model(name)


def has_gpu() -> bool:
    """Whether torch sees one."""
    return torch.cuda.is_available()


@contextmanager
def untouched_random_state() -> Iterator[None]:
    """Put torch's random states back afterwards."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield
