"""BigGAN as a tester, in two forms.

- the CIFAR script's: class-conditional norms look gains and biases up by class (:class:`Generator`);
- ``hierarchical=True``: shared embedding and a latent for each block (:class:`HierarchicalGenerator`), with orthogonal
  regularisation of the generator, as DASGM uses it.

Both networks have spectral normalisation. Published size: ``BigGAN(10, width=256)``. Neither form has attention unless
``learns='architecture'``, where the discriminator's blocks mix convolutions, skips and attention, and B is the mixture.
Two different "BigGAN for CIFAR" exist; this is that of the BigGAN authors' PyTorch script. Deviation: that script draws
the discriminator's weights from N(0, 0.02) as well, and here they start as torch's. Spectral normalisation divides by
their scale, so that the score is of the same size either way; how far a step of Adam turns a weight is not.

References
----------
Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis, 2019; papers/dasgm, section 5.2 and
equation 7.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from nni_wcnas.contracts import Parameters
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.orthogonality import orthogonality
from nni_wcnas.tester.discriminator import Discriminator, Trunk
from nni_wcnas.tester.gan_arguments import COMMON, check_common
from nni_wcnas.tester.generator import Generator
from nni_wcnas.tester.hierarchical_generator import HierarchicalGenerator
from nni_wcnas.tester.hinge_gan import HingeGAN
from nni_wcnas.tester.mixed_trunk import MixedTrunk

__all__ = ['BigGAN']

_STRUCTURE = ('num_classes', 'image_size', 'width', 'latent', 'hierarchical', 'learns')


class BigGAN(HingeGAN):
    """BigGAN: a generator, its moving average, and a discriminator; B is the discriminator or its architecture.

    Parameters
    ----------
    num_classes
        Number of classes.
    image_size
        Side of the images: 16, 32, 64 or 128.
    width
        Channels of every block of both networks.
    latent
        Entries of the latent vector; by default 128, or 120 where it is cut into parts.
    hierarchical
        Whether to take the form with a shared embedding and a part of the latent for each block.
    orthogonal
        Weight of the orthogonal regularisation of the generator's kernels; by default 0, or 1e-4 in the hierarchical
        form.
    learns
        What B is: ``'discriminator'``, the discriminator's parameters, or ``'architecture'``, how its blocks mix their
        operations.
    generator_lr, generator_momentum, generator_weight_decay, generator_gradient_clip_val, min_lr, discriminator_lr,
    ema_decay, ema_start, pretrained
        As in :class:`~nni_wcnas.tester.FQGAN`; ``discriminator_lr`` acts where the discriminator is not B, as under
        DASGM.

    Raises
    ------
    ValueError
        If a value is out of its range, or the pre-trained file is damaged or was made for another kind or structure.

    Examples
    --------
    >>> tester = BigGAN(10, image_size=16, width=8, hierarchical=True)
    >>> tester.generate(tester.noise(4)).shape
    torch.Size([4, 3, 16, 16])
    """

    def __init__(self, num_classes: int, *, image_size: int = 32, width: int = 64, latent: int | None = None,
                 hierarchical: bool = False, orthogonal: float | None = None,
                 learns: Literal['discriminator', 'architecture'] = 'discriminator', generator_lr: float = 0.001,
                 generator_momentum: float = 0.9, generator_weight_decay: float = 3e-4,
                 generator_gradient_clip_val: float | None = None, min_lr: float = 1e-4,
                 discriminator_lr: float = 2e-4, ema_decay: float = 0.9, ema_start: int = 100,
                 pretrained: str | Path | None = None):
        # Before locals() is read, so that settings and files name these numbers and never None. The hierarchical latent
        # is cut into blocks + 1 parts: 120 divides by 3, 4, 5 and 6, as images of 16 to 128 pixels ask for.
        latent = (120 if hierarchical else 128) if latent is None else latent
        orthogonal = (1e-4 if hierarchical else 0.0) if orthogonal is None else orthogonal
        given = locals()
        settings = {name: given[name] for name in (*_STRUCTURE, 'orthogonal', *COMMON)}
        _check(settings)
        form = HierarchicalGenerator if hierarchical else Generator
        # Spectral norms come after the weights are drawn: they begin with the singular vectors of what they find.
        generator = _normalised(form(num_classes, image_size, width, latent))
        # The two trunks differ in their parameters, which is why learns belongs to the structure here.
        trunk = (MixedTrunk if learns == 'architecture' else Trunk)(image_size, width)
        super().__init__(generator, Discriminator(trunk, width, num_classes), settings, _STRUCTURE, pretrained)
        self._orthogonal = orthogonal
        if pretrained is not None:
            self.load(pretrained)

    def penalty(self, generator: Parameters) -> Tensor | float:
        """Return the weighted orthogonal regularisation of all kernels and matrices but the shared embedding."""
        if not self._orthogonal:
            return 0.0
        # By name and shape, as the parameters may be those of a look-ahead. Under spectral norms they are the weights
        # before the division, which the published code regularises as well.
        kernels = [value for name, value in generator.items() if value.ndim > 1 and not name.startswith('shared')]
        return self._orthogonal * orthogonality(kernels)


def _normalised(generator: nn.Module) -> nn.Module:
    """Put a spectral norm on all matrices and kernels of the generator; embeddings stay as they are."""
    # A list first: each spectral norm adds modules to the tree that is being walked.
    for module in list(generator.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d):
            spectral_norm(module)
    return generator


def _check(settings: dict[str, Any]) -> None:
    """Raise ValueError if an argument is out of its range."""
    check_common(settings, positive=('width',))
    if settings['learns'] not in ('discriminator', 'architecture'):
        raise InvalidArgument('learns', settings['learns'], "be 'discriminator' or 'architecture'")
    if not 0 <= settings['orthogonal'] < math.inf:
        raise InvalidArgument('orthogonal', settings['orthogonal'], 'be 0 or more and finite')
