"""SN-GAN as a tester: a residual generator with class-conditional norms, a projection discriminator of half the width.

The discriminator alone has spectral normalisation. Published size: ``SNGAN(10, width=256)``. Deviation: the generator's
weights start as BigGAN's (normal, 0.02), those of the discriminator as torch's; published results have other starts,
and none of them says which.

References
----------
Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018; Miyato and Koyama, cGANs with
Projection Discriminator, 2018; numbers of pre-training are StudioGAN's.
"""

from __future__ import annotations

from pathlib import Path

from nni_wcnas.tester.discriminator import Discriminator, Trunk
from nni_wcnas.tester.gan import PretrainingRecipe
from nni_wcnas.tester.gan_arguments import COMMON, check_common
from nni_wcnas.tester.generator import Generator
from nni_wcnas.tester.hinge_gan import HingeGAN

__all__ = ['SNGAN']

_STRUCTURE = ('num_classes', 'image_size', 'width', 'latent')


class SNGAN(HingeGAN):
    """SN-GAN: a generator, its moving average, and a spectrally normalised discriminator, which is B.

    Parameters
    ----------
    num_classes
        Number of classes.
    image_size
        Side of the images: 16, 32, 64 or 128.
    width
        Channels of the generator's blocks; the discriminator's have half as many.
    latent
        Entries of the latent vector.
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
    >>> tester = SNGAN(10, image_size=16, width=8)
    >>> tester.generate(tester.noise(4)).shape
    torch.Size([4, 3, 16, 16])
    """

    recipe = PretrainingRecipe(betas=(0.5, 0.999), discriminator_steps=5)

    def __init__(self, num_classes: int, *, image_size: int = 32, width: int = 64, latent: int = 128,
                 generator_lr: float = 0.001, generator_momentum: float = 0.9, generator_weight_decay: float = 3e-4,
                 generator_gradient_clip_val: float | None = None, min_lr: float = 1e-4,
                 discriminator_lr: float = 2e-4, ema_decay: float = 0.9, ema_start: int = 100,
                 pretrained: str | Path | None = None):
        # Taken before any other name is bound: locals() has the arguments alone, beside self.
        given = locals()
        settings = {name: given[name] for name in (*_STRUCTURE, *COMMON)}
        check_common(settings, positive=('width',))
        # StudioGAN's CIFAR sizes: 256 channels in the generator, 128 in the discriminator.
        half = max(width // 2, 1)
        super().__init__(Generator(num_classes, image_size, width, latent),
                         Discriminator(Trunk(image_size, half), half, num_classes), settings, _STRUCTURE, pretrained)
        if pretrained is not None:
            self.load(pretrained)
