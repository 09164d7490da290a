"""Adversarial perturbations as a tester: validation images moved against the learner, each pixel by at most epsilon.

    f(x)  =  argmax of L(W', A, x')  over x' in [-1, 1] with |x' - x| <= 2 epsilon        by PGD from x or near it

Pixels in [0, 1] are moved by the sign of the gradient of the learner's cross-entropy, one step ahead (at W') and with
the architecture as it stands, ``steps`` times: by epsilon in one step (FGSM), by 2.5 epsilon / steps in more (PGD).
Acts before the loss of an architecture step, which takes the moved images as constants.

There is no B: the maximum of ``WorstCase`` is over pixels, found anew for each batch, so that nothing of the tester is
learned. Images stay meaningful because epsilon is small; ``trade_off``, ``hyperparameter_lr`` and an auxiliary model do
nothing. The learner is evaluated as everywhere in a search: with the statistics of its batch, and the masks of the
step.

Images are those of the validation batch. The paper's policy (equation 6) changes training images, because its
auxiliary model is judged on the validation images and must not have learned from them. Here is no such model, and A is
to be judged on images to which W has not been fitted.

Cost: ``steps`` forward and backward passes through the supernet on each batch that updates A.

References
----------
Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015; Madry et al., "Towards Deep Learning
Models Resistant to Adversarial Attacks", ICLR 2018, equation 2.1 and section 4 (epsilon 8/255 on CIFAR-10).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nni_wcnas.contracts import Batch, Noise, Parameters, Tester
from nni_wcnas.errors import InvalidArgument
from nni_wcnas.functional.attacks import pgd
from nni_wcnas.functional.image_range import signed_to_unit, unit_to_signed
from nni_wcnas.tester.real_images import check_images, drawn_images

__all__ = ['Perturbation', 'Start']

_REACH = 2.5
"""Length of all steps together, in epsilons: more than the ball's diameter, 2, so that no point is out of reach."""


class Start(NamedTuple):
    """The images and the random numbers that an attack begins with."""

    images: Tensor
    """x, the real images, in [-1, 1], shape ``(N, 3, H, W)``."""
    seed: int
    """Seed of the random start, if there is one."""


class Perturbation(Tester):
    """Attack validation images by FGSM or PGD; nothing is learned.

    Parameters
    ----------
    num_classes
        Number of classes of the real images.
    image_size
        Side of the real images, in pixels; 0 takes any.
    epsilon
        Largest change of a pixel in [0, 1], above 0.
    steps
        Gradients taken, at least 1.
    random_start
        Whether an attack begins at a random point of the ball, not at the image.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> tester = Perturbation(10, image_size=8, epsilon=0.1)
    >>> clean = torch.zeros(2, 3, 8, 8)
    >>> noise = tester.noise(2, Batch(clean, torch.arange(2), None, clean))
    >>> moved = tester.attack(tester.generate(noise), noise, lambda x: x.mean((2, 3)))
    >>> round((moved - clean).abs().max().item(), 4)
    0.2
    """

    # The search then builds neither an optimiser of B nor one of an auxiliary model.
    has_hyperparameters = False
    changes_validation = True

    def __init__(self, num_classes: int, *, image_size: int = 32, epsilon: float = 8 / 255, steps: int = 1,
                 random_start: bool = False):
        super().__init__()
        check_images(num_classes, image_size)
        if not 0 < epsilon < math.inf:
            raise InvalidArgument('epsilon', epsilon, 'be above 0 and finite')
        if steps < 1:
            raise InvalidArgument('steps', steps, 'be at least 1')
        # Plain numbers: the tester has no parameters, and nothing to save.
        self.num_classes, self.image_size = num_classes, image_size
        self.epsilon, self.steps, self.random_start = epsilon, steps, random_start

    def noise(self, count: int, source: Batch | None = None) -> Noise:
        """Draw images of ``source``, each once before any comes again, and the seed of a random start.

        Raises
        ------
        ValueError
            If there is no ``source`` with clean images of the tester's size.
        """
        images, labels = drawn_images(self, count, source)
        # A seed in place of a point of the ball: attack() then draws nothing from the global random state.
        return Noise(Start(images, int(torch.randint(2**62, ()))), labels)

    def generate(self, noise: Noise, generator: Parameters | None = None) -> Tensor:
        """Return the images of ``noise`` as they are; it is :meth:`attack` that changes them."""
        del generator  # Unused: there is nothing to depend on.
        start: Start = noise.latent
        return start.images

    def attack(self, images: Tensor, noise: Noise, logits: Callable[[Tensor], Tensor]) -> Tensor:
        """Move images in [-1, 1] so that the learner fails on them, each pixel by at most 2 epsilon; detached."""
        # From a new generator each time: the same noise gives the same start.
        start = torch.Generator(images.device).manual_seed(noise.latent.seed) if self.random_start else None
        # epsilon is in pixels of [0, 1]; images, and what the learner is shown, are in [-1, 1]. FGSM goes to the border
        # of the ball at once; the steps of PGD are longer together than the ball is wide, and each is projected back.
        pixels = pgd(
            lambda pixels: logits(unit_to_signed(pixels)),
            signed_to_unit(images),
            noise.labels,
            steps=self.steps,
            epsilon=self.epsilon,
            step_size=self.epsilon if self.steps == 1 else _REACH * self.epsilon / self.steps,
            generator=start,
        )
        return unit_to_signed(pixels)

    def hyperparameters(self) -> Parameters:
        """Return no parameters: there is no B."""
        return {}

    def values(self) -> dict[str, float]:
        """Return no values: there is no B."""
        return {}
