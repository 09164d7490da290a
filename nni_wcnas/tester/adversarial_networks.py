"""The two networks of an adversarial tester, and their losses as pure functions of parameters.

A kind of GAN gives its networks, the two losses, and the hyper-parameters that its generator's loss has. The argument
``learns`` says what B is:

- ``'hyperparameters'``: those of the loss; the discriminator S plays its own game on every batch (the paper's full
  method);
- ``'discriminator'``: S itself, which then does not play but ascends the search's objective ("weights only", equation
  18). Kinds without hyper-parameters do so. Under an objective that does not learn B, S plays;
- ``'architecture'``: how S mixes its operations (:mod:`nni_wcnas.tester.mixed_trunk`); its weights play.

Where B is the discriminator, L_dg is differentiated by it through the scores alone. An auxiliary model that shares its
trunk takes the trunk as a constant, as equation 18 has V apart from S; the statistics that a loss holds fixed are
constants too. dB is noisy from batch to batch: the gradients of lambda's term on two batches of 64 images had a cosine
of 0.03, on two of 256 images one of 0.23 (those of the learner's loss 0.23 and 0.35; width 32, 16 pixels). Finite
differences are noisy as well: the cosine of their product to the exact one was 0.8 for BigGAN, 0.3 to 0.5 for SN-GAN
and 0.1 for StyleGAN2-ADA (1.00 with hyper-parameters of the loss as B). And a generator soon fools a discriminator
that hardly moves, so that high rates take the generator apart, whatever lambda is.

How the networks are trained and kept is in :mod:`nni_wcnas.tester.gan`.

References
----------
papers/wcnas, equations 5 and 18; Goodfellow et al., Generative Adversarial Nets, 2014.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from nni_wcnas.contracts import Batch, GenerativeTester, Losses, Noise, Parameters
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.tester.averaging import MovingAverage
from nni_wcnas.tester.mixed_trunk import ARCHITECTURE, OPERATIONS

__all__ = ['AdversarialNetworks']


class AdversarialNetworks(GenerativeTester):
    """A class-conditional generator, its moving average, and a discriminator; nothing here trains them.

    Parameters
    ----------
    generator
        Maps a latent ``(N, latent)`` and labels ``(N,)`` to images ``(N, 3, image_size, image_size)`` in [-1, 1].
    discriminator
        Has a ``trunk`` of ``width`` features, which an auxiliary model may share.
    settings
        Arguments of the kind's constructor by name.
    """

    generator: nn.Module
    discriminator: nn.Module

    def __init__(self, generator: nn.Module, discriminator: nn.Module, settings: dict[str, Any]):
        super().__init__()
        self.num_classes, self.image_size, self.latent = (settings[name]
                                                          for name in ('num_classes', 'image_size', 'latent'))
        self.learns = settings.get('learns', 'discriminator')
        self.generator, self.discriminator = generator, discriminator
        # A deep copy of the generator, so that the generator's weights must have been drawn by now.
        self.average = MovingAverage(generator, settings['ema_decay'], settings['ema_start'])

    # ------------------------------------------------------------------------------------------------ what a kind gives

    @abstractmethod
    def realism(self, images: Tensor, labels: Tensor) -> Tensor:
        """The discriminator's scores, shape ``(N,)``, higher is more real; changes nothing."""

    @abstractmethod
    def discriminator_loss(self, real: Tensor, labels: Tensor, fake: Tensor,
                           fake_labels: Tensor) -> tuple[Tensor, Losses, Any]:
        """Return L_S, losses to log beside it, and what :meth:`commit` is given.

        It may move the discriminator's running statistics. There are as many real images as fake ones.
        """

    @abstractmethod
    def generator_loss(self, images: Tensor, labels: Tensor, discriminator: Parameters, hyperparameters: Parameters,
                       statistics: Any = None) -> tuple[Tensor, Any]:
        """Return L_dg of generated images, under frozen running statistics, and what :meth:`commit` is given."""

    def penalty(self, generator: Parameters) -> Tensor | float:
        """Return what a regularisation of the generator's parameters adds to L_dg."""
        del generator  # Unused: there is no regularisation.
        return 0.0

    def commit(self, statistics: Any) -> None:
        """Let what has no gradient, such as a dictionary, learn from a batch, whose loss returned ``statistics``."""

    def loss_hyperparameters(self) -> Parameters:
        """Return the hyper-parameters of the generator's loss: live and unconstrained, none by default."""
        return {}

    def loss_hyperparameter_values(self) -> dict[str, float]:
        """Return the hyper-parameters of the generator's loss by the names and in the units of the arguments."""
        return {}

    # -------------------------------------------------------------------------------------------------- pure evaluation

    @property
    def like(self) -> Tensor:
        """A tensor of the tester's device and floating-point type."""
        return next(self.generator.parameters())

    @property
    def trunk(self) -> nn.Module:
        """The part of the discriminator that maps images ``(N, 3, H, W)`` to features ``(N, width)``."""
        return self.discriminator.get_submodule('trunk')

    def noise(self, count: int, source: Batch | None = None) -> Noise:
        """Draw latents and uniform labels on the tester's device, from torch's global random state."""
        del source  # Unused: images are made from nothing but noise.
        # f(G): y uniform over the classes, however often they are in the data, and z standard normal.
        latent = torch.randn(count, self.latent, device=self.like.device, dtype=self.like.dtype)
        return Noise(latent, torch.randint(self.num_classes, (count,), device=self.like.device))

    def generate(self, noise: Noise, generator: Parameters | None = None) -> Tensor:
        """f(G): images in [-1, 1], differentiable in ``generator`` (default: the live one); changes nothing."""
        # Batch norms still divide by the statistics of the batch, as in training: an image depends on the others that
        # are made with it. Only the running statistics and the power iterations stand still.
        with frozen_statistics(self.generator):
            if generator is None:
                return self.generator(*noise)
            return functional_call(self.generator, generator, tuple(noise))

    def generation_loss(self, noise: Noise, generator: Parameters | None = None,
                        hyperparameters: Parameters | None = None, statistics: Any = None) -> tuple[Tensor, Any]:
        """L_dg(G, B) (equation 2), twice differentiable in both; it does not change the tester."""
        images = self.generate(noise, generator)
        given = self.hyperparameters() if hyperparameters is None else hyperparameters
        loss, statistics = self.adversarial_loss(images, noise.labels, given, statistics)
        # Outside of the discriminator's loss: the regularisation is of the parameters, not of the images.
        return loss + self.penalty(self.generator_parameters() if generator is None else generator), statistics

    def generator_parameters(self) -> Parameters:
        """G: the live parameters of the generator."""
        return dict(self.generator.named_parameters())

    def discriminator_parameters(self) -> Parameters:
        """S: the live parameters of the discriminator, without its architecture."""
        return {name: value for name, value in self.discriminator.named_parameters() if name != ARCHITECTURE}

    def hyperparameters(self) -> Parameters:
        """B, live and unconstrained: the hyper-parameters, S or the architecture of S, as ``learns`` says."""
        if self.learns == 'architecture':
            return {ARCHITECTURE: self.discriminator.get_parameter(ARCHITECTURE)}
        return self.discriminator_parameters() if self.learns == 'discriminator' else self.loss_hyperparameters()

    def values(self) -> dict[str, float]:
        """Sum B up for logs: hyper-parameters in their own units, the norm of S, or its operations' mean weights."""
        if self.learns == 'hyperparameters':
            return self.loss_hyperparameter_values()
        if self.learns == 'architecture':
            # Logits (blocks, operations) to one weight for each operation, averaged over the blocks.
            weights = self.discriminator.get_parameter(ARCHITECTURE).detach().softmax(dim=1).mean(dim=0)
            return dict(zip(OPERATIONS, weights.tolist(), strict=True))
        # The norm of all parameters together is the norm of their norms; a single item() waits for the GPU once.
        norms = torch._foreach_norm([value.detach() for value in self.hyperparameters().values()])
        return {'discriminator_norm': torch.stack(norms).norm().item()}

    def adversarial_loss(self, images: Tensor, labels: Tensor, given: Parameters,
                          statistics: Any) -> tuple[Tensor, Any]:
        """Return L_dg of images under the ``given`` values of B; all else of S and B is detached, so that a backward
        pass leaves no gradient there."""
        discriminator = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        hyperparameters = {name: value.detach() for name, value in self.loss_hyperparameters().items()}
        (hyperparameters if self.learns == 'hyperparameters' else discriminator).update(given)
        with frozen_statistics(self.discriminator):
            return self.generator_loss(images, labels, discriminator, hyperparameters, statistics)
