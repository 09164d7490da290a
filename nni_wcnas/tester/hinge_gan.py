"""The base of SN-GAN and BigGAN: hinge losses on the scores of images and labels, and no other term.

Neither has hyper-parameters in its generator's loss, so that B is the discriminator itself (papers/wcnas, equation 18),
or its architecture::

    L_dg(G, S)  =  -mean S(G(z, y), y)        L_S  =  mean max(0, 1 - S(x, y)) + mean max(0, 1 + S(G(z, y), y))
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from nni_wcnas.contracts import Losses, Parameters
from nni_wcnas.functional.frozen import frozen_statistics
from nni_wcnas.functional.gan_losses import discriminator_hinge, generator_hinge
from nni_wcnas.tester.gan import GAN

__all__ = ['HingeGAN']


class HingeGAN(GAN):
    """A GAN with hinge losses, whose discriminator maps images and labels to scores; arguments are those of ``GAN``."""

    @torch.no_grad()
    def realism(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the discriminator's scores of images under labels, shape ``(N,)``; nothing is changed."""
        # In training mode a mere score would move the singular vectors of the spectral norms.
        with frozen_statistics(self.discriminator):
            return self.discriminator(images, labels)

    def discriminator_loss(self, real: Tensor, labels: Tensor, fake: Tensor,
                           fake_labels: Tensor) -> tuple[Tensor, Losses, Any]:
        """Return the hinge loss L_S of real and fake images; nothing to log beside it, nothing to commit."""
        # Both halves in one pass, so that the spectral norms take one power iteration a step.
        scores = self.discriminator(torch.cat([real, fake]), torch.cat([labels, fake_labels]))
        return discriminator_hinge(*scores.chunk(2)), {}, None

    def generator_loss(self, images: Tensor, labels: Tensor, discriminator: Parameters, hyperparameters: Parameters,
                       statistics: Any = None) -> tuple[Tensor, Any]:
        """Return L_dg, minus the mean score of generated images, and nothing to commit."""
        del hyperparameters, statistics  # Unused: there are none.
        return generator_hinge(functional_call(self.discriminator, discriminator, (images, labels))), None
