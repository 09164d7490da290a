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

from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import SGD

from nni_wcnas.contracts import Auxiliary, NamedOptimizer, Parameters, SGDStep
from nni_wcnas.errors import InvalidArgument, InvalidFile
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.tester import storage
from nni_wcnas.tester.gan import GAN
from nni_wcnas.tester.sgd import check_rates, clip, cosine_sgd, next_step
from nni_wcnas.tester.timm_classifier import timm_classifier

__all__ = ['TiedAuxiliary', 'TimmAuxiliary']


class _SGDAuxiliary(Auxiliary):
    """An auxiliary model that SGD with cosine annealing trains.

    The arguments are those of both forms below.
    """

    def __init__(self, lr: float, min_lr: float, momentum: float, weight_decay: float,
                 gradient_clip_val: float | None) -> None:
        super().__init__()
        check_rates('auxiliary', lr, min_lr, momentum, weight_decay, gradient_clip_val)
        self._rates = {'lr': lr, 'momentum': momentum, 'weight_decay': weight_decay, 'min_lr': min_lr}
        self._limit = gradient_clip_val
        self._optimizer: SGD | None = None

    def learnable(self) -> Parameters:
        """V: the live parameters of the model's own."""
        return dict(self.named_parameters())

    def loss(self, images: Tensor, labels: Tensor, parameters: Parameters | None = None) -> Tensor:
        """Return the cross-entropy, twice differentiable in ``images`` and ``parameters``; nothing is changed."""
        # Batch norms divide by the statistics of this batch all the same, as in training.
        with frozen_statistics(self):
            logits = self(images) if parameters is None else functional_call(self, parameters, (images,))
        return F.cross_entropy(logits, labels)

    def train_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Take one SGD step of V on detached images, its gradient clipped; return the loss."""
        optimizer = self._built()
        # Not loss(): in the model's own steps its running statistics do move.
        loss = F.cross_entropy(self(images.detach()), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip(self.parameters(), self._limit)
        optimizer.step()
        return loss.detach()

    def optimizers(self, epochs: int) -> list[NamedOptimizer]:
        """Build SGD with cosine annealing for V, and remember it for :meth:`train_step`."""
        self._optimizer, scheduler = cosine_sgd(self.parameters(), epochs=epochs, **self._rates)
        return [NamedOptimizer('auxiliary', self._optimizer, scheduler)]

    def sgd_step(self) -> SGDStep:
        """Return the numbers of V's next SGD step."""
        return next_step(self._built(), self.learnable())

    def _built(self) -> SGD:
        """Return the optimiser; raise RuntimeError if there is none yet."""
        if self._optimizer is None:
            raise RuntimeError('The auxiliary model has no optimiser yet; call optimizers(epochs) first.')
        return self._optimizer


class TiedAuxiliary(_SGDAuxiliary):
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
        if hidden < 1:
            raise InvalidArgument('hidden', hidden, 'be at least one unit of the head')
        super().__init__(lr, min_lr, momentum, weight_decay, gradient_clip_val)
        # A tuple hides the tester from nn.Module. Registered, its parameters would be among those of V, and be moved
        # and saved twice.
        self._shared = (tester,)
        width = cast(int, tester.trunk.width)
        # The trunk sums over pixels, so that the scale of its features drifts with the discriminator; LayerNorm takes
        # the scale out. (N, width) -> (N, hidden) -> (N, classes).
        self.head = nn.Sequential(nn.LayerNorm(width, elementwise_affine=False), nn.Linear(width, hidden), nn.ReLU(),
                                  nn.Linear(hidden, tester.num_classes))
        if pretrained is not None:
            _load(self, pretrained)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, classes)`` of images ``(N, 3, H, W)`` in [-1, 1]; the trunk is a constant."""
        trunk = self._shared[0].trunk
        # Detached parameters, not no_grad: the images, and G behind them, need their gradient through the trunk.
        constant = {name: value.detach() for name, value in trunk.named_parameters()}
        with frozen_statistics(trunk):
            features = functional_call(trunk, constant, (images,))
        return self.head(features)


class TimmAuxiliary(_SGDAuxiliary):
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
        super().__init__(lr, min_lr, momentum, weight_decay, gradient_clip_val)
        # A submodule, so that V is among parameters() here: it shares nothing with the tester.
        self.classifier = timm_classifier(name, num_classes, image_size, **options)
        if pretrained is not None:
            _load(self, pretrained)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, classes)`` of images ``(N, 3, H, W)`` in [-1, 1]."""
        # Not normalised by ImageNet's statistics: the classifier starts untrained and learns on this scale.
        return self.classifier(images)

    def loss(self, images: Tensor, labels: Tensor, parameters: Parameters | None = None) -> Tensor:
        """Return the cross-entropy, twice differentiable in ``images`` and ``parameters``; nothing is changed."""
        # Transformers: only the plain attention has the second derivative that equation 16 takes.
        with sdpa_kernel(SDPBackend.MATH):
            return super().loss(images, labels, parameters)


def _load(model: Auxiliary, path: str | Path) -> None:
    """Load the auxiliary model's state from a file of pre-training; raise ValueError if it has none that fits."""
    state = storage.read(path)['auxiliary']
    if state is None:
        raise InvalidFile(
            'pretrained', path, 'pre-train with one, or leave pretrained out', reason='holds no auxiliary model'
        )
    if storage.shapes(model.state_dict()) != storage.shapes(state):
        raise InvalidFile(
            'pretrained', path,
            'choose the one that it was pre-trained with, for a tied one the same hidden, or pre-train again',
            reason='holds an auxiliary model of other shapes',
        )
    model.load_state_dict(state)
