"""Building the parts of a search from checked settings: data, space, tester, strategy, evaluator."""

from __future__ import annotations

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
from nni_wcnas.errors import InvalidArgument, InvalidFile
from nni_wcnas.evaluator import SearchEvaluator
from nni_wcnas.functional.random_state import untouched_random_state
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
"""Section ``tester`` of settings that have none: P, the augmentation policy, which needs nothing but the data."""


def make_data(settings: Settings) -> ImageData:
    """Build the data module.

    Its batches follow the trial's seed unless the section has one of its own. They are made on the search's device
    where the images can be held there.
    """
    arguments = {'seed': settings.seed, **settings.data}  # Later keys win.
    name = arguments.pop('name')
    in_memory = getattr(option('data', name).factory, 'in_memory', False)
    # Worker processes and transforms of single images work on the CPU. Any other data set in memory lies on the
    # search's device, so that no batch is copied there.
    is_on_cpu = arguments.get('num_workers') or is_image_by_image(arguments)
    if arguments.get('device') is None and in_memory and not is_on_cpu:
        arguments['device'] = device(settings)
    return build('data', name, **arguments)


def make_space(settings: Settings, data: ImageData) -> Any:
    """Build the model space, with as many classes as the data have.

    Raises
    ------
    ValueError
        When the space cannot have as many classes, or an argument does not suit a supernet.
    """
    arguments = dict(settings.space)
    name = arguments.pop('name')
    factory = option('space', name).factory
    accepted = arguments_of(factory)
    # Our spaces call it num_classes, NNI's hub num_labels; a space takes one of them or neither.
    for key in ('num_classes', 'num_labels'):
        if arguments.get(key, data.num_classes) != data.num_classes:
            raise InvalidArgument(
                key, arguments[key], f'leave {key} out',
                reason=f'does not fit {data.name}, which has {data.num_classes} classes',
            )
        if key in accepted:
            arguments[key] = data.num_classes
    # NNI's hub takes a list for a choice of the depth.
    if isinstance(arguments.get('num_cells'), (list, tuple)):
        raise InvalidArgument(
            'num_cells', arguments['num_cells'], 'give one number',
            reason='is a list, and a supernet of cells has one depth',
        )
    # The NDS spaces of NNI's hub have their number of classes built in, by the argument `dataset`.
    classes = 1000 if arguments.get('dataset') == 'imagenet' else 10
    if isinstance(factory, type) and issubclass(factory, NDS) and data.num_classes != classes:
        raise ValueError(
            f"NNI's {factory.__name__} space has {classes} classes{' with dataset imagenet' if classes > 10 else ''} "
            f'and {data.name} has {data.num_classes}; use `name: darts`'
        )
    return factory(**arguments)


def make_tester(settings: Settings, data: ImageData) -> Tester:
    """Build the tester with the resolution and the classes of the data; by default the augmentation policy.

    Raises
    ------
    ValueError
        When the settings ask for another resolution or number of classes, or a value is out of range.
    """
    section = settings.tester or DEFAULT_TESTER
    arguments = {'num_classes': data.num_classes, 'image_size': data.image_size, **section}
    for key in ('num_classes', 'image_size'):
        if arguments[key] != getattr(data, key):
            raise InvalidArgument(
                key, arguments[key], f'leave {key} out',
                reason=f'does not fit {data.name}, which has {getattr(data, key)}',
            )
    if arguments.get('pretrained') == AUTO:
        # The file is made before a search begins; to check settings, or to describe the tester, there is none yet.
        del arguments['pretrained']
    name, pretrained = arguments.pop('name'), arguments.get('pretrained')
    if pretrained is not None and not Path(pretrained).is_file():
        raise InvalidFile(
            'pretrained', pretrained, 'make it with `nni-wcnas pretrain`, or write `pretrained: auto`',
            reason='does not exist',
        )
    return build('tester', name, **arguments)


def tester_kind(settings: Settings) -> type[Tester]:
    """Return the class of the settings' tester."""
    kind: Any = option('tester', (settings.tester or DEFAULT_TESTER)['name']).factory
    return cast(type[Tester], kind)


def auxiliary_arguments(settings: Settings) -> AuxiliaryOptions:
    """Return the arguments of ``make_auxiliary``, with the auxiliary model's name and width filled in.

    Without a name it is the one that belongs to the kind of tester. A small ResNet without a width gets the width that
    fits the convolutions of the space.
    """
    found, kind = settings.auxiliary.arguments(), tester_kind(settings)
    if not follows_learner(found, kind):
        return {**found, 'name': found['name'] or default_auxiliary(kind)}
    arguments = dict(settings.space)
    # The space is built to count its weights, and dropped; the search builds its own, from an untouched state.
    with untouched_random_state():
        space = option('space', arguments.pop('name')).factory(**arguments)
    return {**found, 'name': SMALL_RESNET, 'width': fitting_width(convolution_weights(space))}


def make_strategy(settings: Settings) -> Search:
    """Build the strategy: a preset or the neutral members, with the members and numbers that the settings give.

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
    # Last, as a preset chooses its schedule itself: the length of a search stands in one place, the search section.
    strategy.schedule = with_lengths(strategy.schedule, settings.search.epochs, settings.search.warmup)
    return strategy


def make_evaluator(settings: Settings, data: ImageData, strategy: Search, **trainer: Any) -> SearchEvaluator:
    """Build the evaluator, with a tester where the objective needs one.

    Parameters
    ----------
    settings
        Checked settings.
    data
        The data of the search.
    strategy
        The strategy of the search; its objective says whether there is a tester.
    **trainer
        More arguments of ``SearchEvaluator``, such as callbacks, and of Lightning's ``Trainer``.
    """
    # The keys of the section are arguments of `SearchEvaluator`; the warm-up is the schedule's.
    numbers = settings.search.model_dump(exclude={'epochs', 'warmup'})
    tester = make_tester(settings, data) if strategy.objective.needs_tester else None
    return SearchEvaluator(
        data,
        tester=tester,
        # V judges the tester's hyper-parameters B: a tester without B has no auxiliary model.
        auxiliary=auxiliary_arguments(settings) if tester is None or tester.has_hyperparameters else None,
        max_epochs=settings.search.epochs,
        **numbers,
        accelerator=accelerator(settings),
        devices=1,
        **trainer,
    )


def accelerator(settings: Settings) -> str:
    """Return Lightning's name of the device: ``'gpu'`` or ``'cpu'``."""
    # 'cuda' without a GPU was refused when the settings were checked.
    return {'auto': 'gpu' if has_gpu() else 'cpu', 'cuda': 'gpu', 'cpu': 'cpu'}[settings.device]


def device(settings: Settings) -> str:
    """Return torch's name of the device: ``'cuda'`` or ``'cpu'``."""
    return 'cuda' if accelerator(settings) == 'gpu' else 'cpu'


def difficulty_scores(settings: Settings, data: ImageData, reference: Reference | None) -> Tensor:
    """Return how hard each training example is, shape ``(N_train,)``, higher is harder.

    The scores are those of the difficulty file, or without one those of the reference models.

    Raises
    ------
    ValueError
        When there is neither, or the file does not fit the data.
    """
    source = settings.difficulty
    if source.path is None:
        if reference is None:
            raise ValueError('difficulty has no path and there are no reference models; give one of them')
        return reference.train_scores
    return load_difficulty(source.path, data.images.train.labels, kind=source.kind, models=source.models).values


def hard_examples(settings: Settings, data: ImageData, scores: Tensor) -> Tensor:
    """Return the positions of the hardest examples of the architecture's half, shape ``(M,)``, hardest first."""
    return hardest(scores, data.architecture_indices, settings.difficulty.share)


def check_difficulty(settings: Settings, data: ImageData) -> None:
    """Read the difficulty file, if there is one, so that a mistake in it is found before the search."""
    if settings.difficulty.path is not None:
        hard_examples(settings, data, difficulty_scores(settings, data, None))


def is_auxiliary(name: str | None) -> bool:
    """Tell whether there is an auxiliary model of this name; None leaves the choice to the tester."""
    if name in (None, 'tied', SMALL_RESNET):
        return True
    import timm

    return timm.is_model(name)


def has_gpu() -> bool:
    """Tell whether torch sees a GPU."""
    return torch.cuda.is_available()
