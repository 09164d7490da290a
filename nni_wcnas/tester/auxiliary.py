"""The auxiliary model V: a classifier that learns from generated images and is judged on real ones, so that it tells
whether the generated images mean anything.

::

    V' = V - lr_v grad L(V, f(G'))        one step on generated images, equation 9
    L(V', D_val)                          how little these mean: the term of lambda in equation 4

:class:`TiedAuxiliary` is the discriminator's trunk with a two-layer head of its own: few parameters, cheap look-ahead.
:class:`TimmAuxiliary` is any classifier of timm; :mod:`.small_resnet` is one that is small beside the learner. Both
take one SGD step on generated images when told so, on every batch in the papers' tables. Cost of a step: one forward
pass through trunk and head and one backward pass through the head, or one of each through the classifier.

In its look-ahead a classifier with batch normalisation divides by the statistics of its batch, so that it does not see
a tint that all images share; a classifier without, such as ``nf_resnet26``, does.

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
    """The map that :func:`make_auxiliary` takes in the place of a name; every key may be left out."""

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
        The GAN whose discriminator lends its trunk.
    hidden
        Units of the head's hidden layer.
    lr, momentum, weight_decay, min_lr
        Numbers of SGD on the head; its rate falls from ``lr`` to ``min_lr`` on a half cosine.
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
        # A tuple hides the tester from nn.Module. Registered, its parameters would be among those of V, and be moved
        # and saved twice.
        self._shared = (tester,)
        width = cast(int, tester.trunk.width)
        # The trunk sums over pixels, so that the scale of its features drifts with the discriminator; LayerNorm takes
        # the scale out. (N, width) -> (N, hidden) -> (N, classes).
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
        """Return logits ``(N, classes)`` of images ``(N, 3, H, W)`` in [-1, 1]; the trunk is a constant."""
        trunk = self._shared[0].trunk
        # Detached parameters, not no_grad: the images, and G behind them, need their gradient through the trunk.
        constant = {name: value.detach() for name, value in trunk.named_parameters()}
        with frozen_statistics(trunk):
            features = functional_call(trunk, constant, (images,))
        return self.head(features)

    def loss(self, images: Tensor, labels: Tensor, parameters: Parameters | None = None) -> Tensor:
        """Return the cross-entropy, differentiable in ``images`` and ``parameters``; nothing is changed."""
        return _frozen_loss(self, images, labels, parameters)

    def train_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Take one SGD step of the head on detached images; return the loss."""
        return _sgd_update(self, self._optimizer, self._limit, images, labels)

    def optimizers(self, epochs: int) -> list[NamedOptimizer]:
        """Build SGD with cosine annealing for the head, and remember it for :meth:`train_step`."""
        self._optimizer, scheduler = cosine_sgd(self.parameters(), epochs=epochs, **self._rates)
        return [NamedOptimizer('auxiliary', self._optimizer, scheduler)]

    def sgd_step(self) -> SGDStep:
        """Return the numbers of the head's next SGD step."""
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
        Side of the images in pixels. A model that asks for it is built for it, and any model is tried with it; None
        tries nothing.
    lr, momentum, weight_decay, min_lr
        Numbers of SGD; its rate falls from ``lr`` to ``min_lr`` on a half cosine.
    gradient_clip_val
        Longest gradient of its own steps; None for no clip. Look-aheads are not clipped.
    pretrained
        File that pre-training wrote, to take the classifier from.
    **options
        Arguments of ``timm.create_model``, such as ``patch_size`` of a vision transformer.

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
        # A submodule, so that V is among parameters() here: it shares nothing with the tester.
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
        """Return logits ``(N, classes)`` of images ``(N, 3, H, W)`` in [-1, 1]."""
        # Not normalised by ImageNet's statistics: the classifier starts untrained and learns on this scale.
        return self.classifier(images)

    def loss(self, images: Tensor, labels: Tensor, parameters: Parameters | None = None) -> Tensor:
        """Return the cross-entropy, twice differentiable in ``images`` and ``parameters``; nothing is changed."""
        # Transformers: only the plain attention has the second derivative that equation 16 takes.
        with sdpa_kernel(SDPBackend.MATH):
            return _frozen_loss(self, images, labels, parameters)

    def train_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Take one SGD step on detached images; return the loss."""
        return _sgd_update(self, self._optimizer, self._limit, images, labels)

    def optimizers(self, epochs: int) -> list[NamedOptimizer]:
        """Build SGD with cosine annealing, and remember it for :meth:`train_step`."""
        self._optimizer, scheduler = cosine_sgd(self.parameters(), epochs=epochs, **self._rates)
        return [NamedOptimizer('auxiliary', self._optimizer, scheduler)]

    def sgd_step(self) -> SGDStep:
        """Return the numbers of the classifier's next SGD step."""
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
        raise ValueError(f'width={width} is of {SMALL_RESNET}, and {name!r} has none; leave it out.')
    # A file of its own comes before the tester's. The latter need not hold an auxiliary model, the former must.
    file: Any = getattr(tester, 'pretrained', None) if own is None else own
    stored = None if file is None else storage.read(file)['auxiliary']
    if own is not None and stored is None:
        raise ValueError(f'{file} holds no auxiliary model; pre-train with one, or leave pretrained out.')
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
    if _shapes(stored) != _shapes(model.state_dict()):
        raise ValueError(f'{file} holds another auxiliary model than {name!r}; '
                         'choose the one that it was pre-trained with, or pre-train again.')
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


def _load(model: Auxiliary, path: str | Path) -> None:
    """Load the auxiliary model's state from a file of pre-training; raise ValueError if it has none that fits."""
    state = storage.read(path)['auxiliary']
    if state is None:
        raise ValueError(f'{path} holds no auxiliary model; pre-train with one, or leave pretrained out.')
    if _shapes(model.state_dict()) != _shapes(state):
        raise ValueError(f'{path} holds an auxiliary model of other shapes; choose the one that it was pre-trained '
                         'with, for a tied one the same hidden, or pre-train again.')
    model.load_state_dict(state)


def _shapes(state: Parameters) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor by name: equal for two models if one can load the other's state."""
    return {name: tuple(value.shape) for name, value in state.items()}


def _frozen_loss(model: Auxiliary, images: Tensor, labels: Tensor, parameters: Parameters | None) -> Tensor:
    """Return the cross-entropy of ``model``, at other parameters if given, without moving its running statistics."""
    # Batch norms divide by the statistics of this batch all the same, as in training.
    with frozen_statistics(model):
        logits = model(images) if parameters is None else functional_call(model, parameters, (images,))
    return F.cross_entropy(logits, labels)


def _sgd_update(model: Auxiliary, optimizer: SGD | None, limit: float | None, images: Tensor,
                labels: Tensor) -> Tensor:
    """Take one step of ``model`` on detached images, its gradient clipped to a norm of ``limit``."""
    optimizer = _built(optimizer)
    # Not _frozen_loss: in the model's own steps its running statistics do move.
    loss = F.cross_entropy(model(images.detach()), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    clip(model.parameters(), limit)
    optimizer.step()
    return loss.detach()


def _built(optimizer: SGD | None) -> SGD:
    """Return the optimiser; raise RuntimeError if there is none yet."""
    if optimizer is None:
        raise RuntimeError('The auxiliary model has no optimiser yet; call optimizers(epochs) first.')
    return optimizer
