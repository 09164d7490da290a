"""The auxiliary model V: a classifier that learns from generated images and is judged on real ones, so that it tells
whether they mean anything.

:class:`TiedAuxiliary` is the discriminator's trunk with a two-layer head of its own: few parameters, cheap look-ahead.
:class:`TimmAuxiliary` is any classifier of timm; :mod:`.small_resnet` is one that is small beside the learner. Both
take one SGD step on generated images when told so, on every batch in the papers' tables. Cost of a step: one forward
pass through trunk and head and one backward pass through the head, or one of each through the classifier.

In its look-ahead a classifier normalises by the statistics of its batch, where it has batch normalisation, and does not
see a tint that all images share; one without, such as ``nf_resnet26``, does.

References
----------
The tied form is the parameter sharing of the worst-case search paper, section 3.3; its separate form there is
``TimmAuxiliary('resnet18', ...)``. Deviations of the tied head: it normalises the trunk's features (their scale is the
sum over pixels and drifts with the discriminator).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import SGD

from nni_wcnas.contracts import Auxiliary, NamedOptimizer, Parameters, SGDStep, Tester
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.tester import storage
from nni_wcnas.tester.gan import GAN
from nni_wcnas.tester.sgd import check_rates, clip, cosine_sgd, next_step
from nni_wcnas.tester.small_resnet import SMALL_RESNET, fitting_width, small_resnet
from nni_wcnas.tester.timm_classifier import timm_classifier

__all__ = [
    'AuxiliaryOptions', 'TiedAuxiliary', 'TimmAuxiliary', 'default_auxiliary', 'follows_learner', 'make_auxiliary'
]

_logger = logging.getLogger(__name__)


class AuxiliaryOptions(TypedDict, total=False):
    """What :func:`make_auxiliary` takes in the place of a name."""

    name: str | None
    width: int | None
    lr: float
    min_lr: float
    momentum: float
    weight_decay: float
    gradient_clip_val: float | None
    pretrained: str | Path | None


class TiedAuxiliary(Auxiliary):
    """The discriminator's trunk, which this model never trains, and a two-layer head, which is all of V.

    The trunk is the tester's own and is no submodule here: it is moved, trained and saved with the tester.

    Parameters
    ----------
    tester
        Whose trunk to share.
    hidden
        Units of the head's hidden layer.
    lr, momentum, weight_decay, min_lr
        SGD on the head; its rate falls to ``min_lr`` on a half cosine.
    gradient_clip_val
        Longest gradient of its own steps; None for no clip. Look-aheads are not clipped.
    pretrained
        File that pre-training wrote, to take the head from.

    Raises
    ------
    ValueError
        If a value is out of its range, or the file holds no head or another one.

    Examples
    --------
    >>> from nni_wcnas.tester.fq_gan import FQGAN
    >>> tester = FQGAN(10, image_size=16, width=8, dictionary_size=16)
    >>> sorted(TiedAuxiliary(tester).learnable())
    ['head.1.bias', 'head.1.weight', 'head.3.bias', 'head.3.weight']
    """

    def __init__(self, tester: GAN, hidden: int = 128, *, lr: float = 0.025, momentum: float = 0.9,
                 weight_decay: float = 3e-4, min_lr: float = 1e-3, gradient_clip_val: float | None = None,
                 pretrained: str | Path | None = None):
        super().__init__()
        if hidden < 1:
            raise ValueError(f'The head needs at least one hidden unit, but hidden is {hidden}.')
        check_rates('auxiliary', lr, min_lr, momentum, weight_decay, gradient_clip_val)
        self._shared = (tester,)  # A tuple hides it from nn.Module, which would register it.
        width = cast(int, tester.trunk.width)
        self.head = nn.Sequential(nn.LayerNorm(width, elementwise_affine=False), nn.Linear(width, hidden), nn.ReLU(),
                                  nn.Linear(hidden, tester.num_classes))
        self._rates = {'lr': lr, 'momentum': momentum, 'weight_decay': weight_decay, 'min_lr': min_lr}
        self._limit = gradient_clip_val
        self._optimizer: SGD | None = None
        if pretrained is not None:
            _load(self, pretrained)

    def learnable(self) -> Parameters:
        """V: the live parameters of the head."""
        return dict(self.named_parameters())

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images ``(N, 3, H, W)`` in [-1, 1], differentiable in images and head; the trunk is a constant."""
        trunk = self._shared[0].trunk
        constant = {name: value.detach() for name, value in trunk.named_parameters()}
        with frozen_statistics(trunk):
            features = functional_call(trunk, constant, (images,))
        return self.head(features)

    def loss(self, images: Tensor, labels: Tensor, parameters: Parameters | None = None) -> Tensor:
        """Cross-entropy, differentiable in ``images`` and ``parameters``; changes nothing."""
        return _frozen_loss(self, images, labels, parameters)

    def train_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One SGD step of the head; returns the loss."""
        return _sgd_update(self, self._optimizer, self._limit, images, labels)

    def optimizers(self, epochs: int) -> list[NamedOptimizer]:
        """Build SGD with cosine annealing for the head; remembers it."""
        self._optimizer, scheduler = cosine_sgd(self.parameters(), epochs=epochs, **self._rates)
        return [NamedOptimizer('auxiliary', self._optimizer, scheduler)]

    def sgd_step(self) -> SGDStep:
        """The numbers of the head's next step."""
        return next_step(_built(self._optimizer), self.learnable())


class TimmAuxiliary(Auxiliary):
    """Any classifier of timm that can take the tester's images, trained from scratch and apart from the tester.

    Parameters
    ----------
    name
        Model name, such as ``'resnet18'``.
    num_classes
        Number of classes.
    image_size
        Side of the images in pixels: the model is built for it where it asks, and tried with it; None tries nothing.
    lr, momentum, weight_decay, min_lr
        SGD; its rate falls to ``min_lr`` on a half cosine.
    gradient_clip_val
        Longest gradient of its own steps; None for no clip. Look-aheads are not clipped.
    pretrained
        File that pre-training wrote, to take the classifier from.
    **options
        For ``timm.create_model``, such as ``patch_size`` of a vision transformer.

    Raises
    ------
    ValueError
        If timm does not know the name, naming near ones, the model cannot take such images, a value is out of its
        range, or the file holds no auxiliary model or another one.
    """

    def __init__(self, name: str = 'resnet18', *, num_classes: int, image_size: int | None = None, lr: float = 0.025,
                 momentum: float = 0.9, weight_decay: float = 3e-4, min_lr: float = 1e-3,
                 gradient_clip_val: float | None = None, pretrained: str | Path | None = None, **options: Any):
        super().__init__()
        check_rates('auxiliary', lr, min_lr, momentum, weight_decay, gradient_clip_val)
        self.classifier = timm_classifier(name, num_classes, image_size, **options)
        self._rates = {'lr': lr, 'momentum': momentum, 'weight_decay': weight_decay, 'min_lr': min_lr}
        self._limit = gradient_clip_val
        self._optimizer: SGD | None = None
        if pretrained is not None:
            _load(self, pretrained)

    def learnable(self) -> Parameters:
        """V: the live parameters of the classifier."""
        return dict(self.named_parameters())

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images ``(N, 3, H, W)`` in [-1, 1]."""
        return self.classifier(images)

    def loss(self, images: Tensor, labels: Tensor, parameters: Parameters | None = None) -> Tensor:
        """Cross-entropy, twice differentiable in ``images`` and ``parameters``; no running statistic moves."""
        with sdpa_kernel(SDPBackend.MATH):  # The fused attentions have no second derivative.
            return _frozen_loss(self, images, labels, parameters)

    def train_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One SGD step; returns the loss."""
        return _sgd_update(self, self._optimizer, self._limit, images, labels)

    def optimizers(self, epochs: int) -> list[NamedOptimizer]:
        """Build SGD with cosine annealing; remembers it."""
        self._optimizer, scheduler = cosine_sgd(self.parameters(), epochs=epochs, **self._rates)
        return [NamedOptimizer('auxiliary', self._optimizer, scheduler)]

    def sgd_step(self) -> SGDStep:
        """The numbers of the next step."""
        return next_step(_built(self._optimizer), self.learnable())


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
        Gives the trunk, or only the number of classes and the side of the images; and the model's state, if the tester
        has a file that holds one and there is no ``pretrained``.
    learner
        Weights of the space's convolutions, which a small ResNet without a ``width`` follows.

    Raises
    ------
    ValueError
        If the name or an argument is unknown, a width does nothing or is missing, the model cannot take the tester's
        images, or the file holds another auxiliary model.
    TypeError
        If the name is ``'tied'`` and the tester has no discriminator to share, or ``auxiliary`` is no name and no map.
    """
    options = _options(auxiliary)
    name, own = options.pop('name', None) or default_auxiliary(type(tester)), options.pop('pretrained', None)
    width = options.pop('width', None)
    if width is not None and name != SMALL_RESNET:
        raise ValueError(f'width={width} is of {SMALL_RESNET}, and {name!r} has none; leave it out.')
    file: Any = getattr(tester, 'pretrained', None) if own is None else own
    stored = None if file is None else storage.read(file)['auxiliary']
    if own is not None and stored is None:
        raise ValueError(f'{file} holds no auxiliary model; pre-train with one, or leave pretrained out.')
    if name == 'tied':
        model: Auxiliary = _tied(tester, stored, options)
    else:
        chosen = small_resnet(width or _width_beside(learner)) if name == SMALL_RESNET else {'name': name}
        model = TimmAuxiliary(
            **chosen, num_classes=tester.num_classes, image_size=tester.image_size or None, **options
        )
    if stored is None:
        _logger.info('The auxiliary model %s starts untrained.', name)
        return model
    if _shapes(stored) != _shapes(model.state_dict()):
        raise ValueError(f'{file} holds another auxiliary model than {name!r}; '
                         'choose the one that it was pre-trained with, or pre-train again.')
    model.load_state_dict(stored)
    return model


def default_auxiliary(kind: type[Tester]) -> str:
    """What :func:`make_auxiliary` builds for a kind of tester where nothing is named: the paper's two forms."""
    return 'tied' if issubclass(kind, GAN) else SMALL_RESNET


def follows_learner(auxiliary: str | AuxiliaryOptions | None, kind: type[Tester]) -> bool:
    """Whether :func:`make_auxiliary` has to be told the learner's weights, for a kind of tester."""
    options = _options(auxiliary)
    return (options.get('name') or default_auxiliary(kind)) == SMALL_RESNET and options.get('width') is None


def _options(auxiliary: str | AuxiliaryOptions | None) -> dict[str, Any]:
    """A map, also of a mere name."""
    if not isinstance(auxiliary, (str, Mapping, type(None))):
        raise TypeError(f'The auxiliary model must be a name, a map with a name, or a model, not {auxiliary!r}.')
    options: dict[str, Any] = dict(auxiliary) if isinstance(auxiliary, Mapping) else {'name': auxiliary}
    unknown = sorted(options.keys() - AuxiliaryOptions.__annotations__.keys())
    if unknown:
        raise ValueError(f'The auxiliary model has no argument {unknown[0]!r}; '
                         f'there are {", ".join(AuxiliaryOptions.__annotations__)}.')
    return options


def _width_beside(learner: int | None) -> int:
    """Of a small ResNet; refuses to guess."""
    if learner is None:
        raise ValueError(f'The width of {SMALL_RESNET} follows the learner, which is not known here; give a width.')
    return fitting_width(learner)


def _tied(tester: Tester, stored: Parameters | None, options: dict[str, Any]) -> TiedAuxiliary:
    """An untrained head, as wide as the stored one."""
    if not isinstance(tester, GAN):
        raise TypeError(f'A tied auxiliary model shares a discriminator, and {type(tester).__name__} has none; '
                         'name a timm classifier such as \'resnet18\'.')
    if stored is None or 'head.1.weight' not in stored:
        return TiedAuxiliary(tester, **options)
    return TiedAuxiliary(tester, len(stored['head.1.weight']), **options)


def _load(model: Auxiliary, path: str | Path) -> None:
    """Take the state from a file of pre-training."""
    state = storage.read(path)['auxiliary']
    if state is None:
        raise ValueError(f'{path} holds no auxiliary model; pre-train with one, or leave pretrained out.')
    if _shapes(model.state_dict()) != _shapes(state):
        raise ValueError(f'{path} holds an auxiliary model of other shapes; choose the one that it was pre-trained '
                         'with, for a tied one the same hidden, or pre-train again.')
    model.load_state_dict(state)


def _shapes(state: Parameters) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def _frozen_loss(model: Auxiliary, images: Tensor, labels: Tensor, parameters: Parameters | None) -> Tensor:
    """Cross-entropy of ``model``, at other parameters if given, without moving its statistics."""
    with frozen_statistics(model):
        logits = model(images) if parameters is None else functional_call(model, parameters, (images,))
    return F.cross_entropy(logits, labels)


def _sgd_update(model: Auxiliary, optimizer: SGD | None, limit: float | None, images: Tensor,
                labels: Tensor) -> Tensor:
    """One step of ``model`` on detached images, its gradient no longer than ``limit``."""
    optimizer = _built(optimizer)
    loss = F.cross_entropy(model(images.detach()), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    clip(model.parameters(), limit)
    optimizer.step()
    return loss.detach()


def _built(optimizer: SGD | None) -> SGD:
    """The optimiser, or a refusal if there is none yet."""
    if optimizer is None:
        raise RuntimeError('The auxiliary model has no optimiser yet; call optimizers(epochs) first.')
    return optimizer
