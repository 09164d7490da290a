"""Which auxiliary model a tester gets: by a name, by a map of arguments, or by default."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from nni_wcnas.contracts import Auxiliary, Parameters, Tester
from nni_wcnas.errors import InvalidArgument, InvalidFile
from nni_wcnas.tester import storage
from nni_wcnas.tester.auxiliary import TiedAuxiliary, TimmAuxiliary
from nni_wcnas.tester.gan import GAN
from nni_wcnas.tester.small_resnet import SMALL_RESNET, fitting_width, small_resnet

__all__ = ['AuxiliaryOptions', 'default_auxiliary', 'follows_learner', 'make_auxiliary']

_logger = logging.getLogger(__name__)


class AuxiliaryOptions(TypedDict, total=False):
    """The map that :func:`make_auxiliary` takes in the place of a name; every key may be left out."""

    name: str | None
    width: int | None
    lr: float
    min_lr: float
    momentum: float
    weight_decay: float
    gradient_clip_val: float | None
    pretrained: str | Path | None


def make_auxiliary(
    auxiliary: str | AuxiliaryOptions | None, tester: Tester, *, learner: int | None = None
) -> Auxiliary:
    """Build the auxiliary model of a tester.

    Parameters
    ----------
    auxiliary
        ``'tied'``, ``'small_resnet'`` or the name of a timm classifier; None is ``'tied'`` where the tester has a
        discriminator, else ``'small_resnet'``. Or a map with such a ``name``, the ``width`` of a small ResNet, and the
        arguments of all forms: ``lr``, ``min_lr``, ``momentum``, ``weight_decay``, ``gradient_clip_val``,
        ``pretrained``.
    tester
        Lends its trunk to a tied model, and tells any other the number of classes and the side of the images. Where
        there is no ``pretrained``, the model's state comes from the tester's own file, if that holds one.
    learner
        Number of weights of the space's convolutions, from which a small ResNet without a ``width`` takes its width.

    Raises
    ------
    ValueError
        If the name or an argument is unknown, a width would do nothing or is missing, the model cannot take the
        tester's images, or the file holds another auxiliary model.
    TypeError
        If the name is ``'tied'`` and the tester has no discriminator to share, or ``auxiliary`` is no name and no map.
    """
    options = _options(auxiliary)
    name, own = options.pop('name', None) or default_auxiliary(type(tester)), options.pop('pretrained', None)
    width = options.pop('width', None)
    if width is not None and name != SMALL_RESNET:
        raise InvalidArgument('width', width, 'leave it out', reason=f'is of {SMALL_RESNET}, and {name!r} has none')
    # A file of its own comes before the tester's. The latter need not hold an auxiliary model, the former must.
    file: Any = getattr(tester, 'pretrained', None) if own is None else own
    stored = None if file is None else storage.read(file)['auxiliary']
    if own is not None and stored is None:
        raise InvalidFile(
            'pretrained', file, 'pre-train with one, or leave pretrained out', reason='holds no auxiliary model'
        )
    if name == 'tied':
        model: Auxiliary = _tied(tester, stored, options)
    else:
        channels = _width_beside(learner) if width is None and name == SMALL_RESNET else width
        chosen = small_resnet(channels) if name == SMALL_RESNET else {'name': name}
        # A tester for images of any size has an image_size of 0; the classifier is then not tried.
        model = TimmAuxiliary(
            **chosen, num_classes=tester.num_classes, image_size=tester.image_size or None, **options
        )
    # Loaded here, not by the constructor: the tester's file is then read once.
    if stored is None:
        _logger.info('The auxiliary model %s starts untrained.', name)
        return model
    if storage.shapes(stored) != storage.shapes(model.state_dict()):
        raise InvalidFile(
            'pretrained', file, 'choose the one that it was pre-trained with, or pre-train again',
            reason=f'holds another auxiliary model than {name!r}',
        )
    model.load_state_dict(stored)
    return model


def default_auxiliary(kind: type[Tester]) -> str:
    """Return the name that :func:`make_auxiliary` takes by default: tied to a GAN, else a model of its own."""
    return 'tied' if issubclass(kind, GAN) else SMALL_RESNET


def follows_learner(auxiliary: str | AuxiliaryOptions | None, kind: type[Tester]) -> bool:
    """Return whether :func:`make_auxiliary` needs ``learner``: for a small ResNet whose width is not given."""
    options = _options(auxiliary)
    return (options.get('name') or default_auxiliary(kind)) == SMALL_RESNET and options.get('width') is None


def _options(auxiliary: str | AuxiliaryOptions | None) -> dict[str, Any]:
    """Return the options as a map, of a mere name as well; refuse unknown keys."""
    if not isinstance(auxiliary, (str, Mapping, type(None))):
        raise TypeError(f'The auxiliary model must be a name, a map with a name, or a model, not {auxiliary!r}.')
    # A copy, which the caller may empty.
    options: dict[str, Any] = dict(auxiliary) if isinstance(auxiliary, Mapping) else {'name': auxiliary}
    unknown = sorted(options.keys() - AuxiliaryOptions.__annotations__.keys())
    if unknown:
        raise ValueError(f'The auxiliary model has no argument {unknown[0]!r}; '
                         f'there are {", ".join(AuxiliaryOptions.__annotations__)}.')
    return options


def _width_beside(learner: int | None) -> int:
    """Return the width of a small ResNet beside the learner; raise ValueError if the learner is not known."""
    if learner is None:
        raise ValueError(f'The width of {SMALL_RESNET} follows the learner, which is not known here; give a width.')
    return fitting_width(learner)


def _tied(tester: Tester, stored: Parameters | None, options: dict[str, Any]) -> TiedAuxiliary:
    """Build an untrained tied model, whose head is as wide as the stored one, if there is one."""
    if not isinstance(tester, GAN):
        raise TypeError(f'A tied auxiliary model shares a discriminator, and {type(tester).__name__} has none; '
                         'name a timm classifier such as \'resnet18\'.')
    if stored is None or 'head.1.weight' not in stored:
        return TiedAuxiliary(tester, **options)
    # head.1 is the hidden layer, whose weight has the shape (hidden, width).
    return TiedAuxiliary(tester, len(stored['head.1.weight']), **options)
