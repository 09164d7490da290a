"""Common corruptions as a tester: training images under learned noise, blur, weather and compression.

There are 16 corruptions (:mod:`nni_wcnas.functional.corruptions`); their selection and the severity of each are the
tester's hyper-parameters B. There is no generator: images depend on B directly, as on an augmentation policy, whose
place in equation 6 the corruptions take. Pre-training beside them trains the auxiliary model, and its file serves as
the ``pretrained`` of the corruptions as well.

    k        =  argmax(selection + g)                        which corruption; g Gumbel noise, of each image its own
    s        =  sigmoid(severity_k)
    f(B, x)  =  2 (x_0 + w (corruption_k(x_0, s) - x_0)) - 1        x_0 the real image, pixels in [0, 1]; w = 1

The gradient is straight-through. The gradient of w is that of softmax((selection + g) / temperature)_k, through which
all logits learn; of the relaxed sum over corruptions the chosen term alone is computed. An image has the corruption's
own derivative in s or, where the corruption has none, a derivative of 1 in every pixel. Images can be differentiated
twice.

At the start all corruptions are equally likely, at s = 1/2. Whether an image is changed at all needs no gate of its
own: at s = 0 no image is.

Cost: one corruption an image, a few thousandths of a pass through a supernet; on a GPU the processor waits once for
which corruptions were chosen.

Deviations: the benchmark's corruptions are for testing, not for searching. Those here are close to them, not the same.
A network that was searched with them has met the like of the benchmark's, which is then no test of the unforeseen.

References
----------
Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019;
papers/wcnas, equation 6.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nni_wcnas.contracts import Batch, Noise, Parameters
from nni_wcnas.functional.corruptions import CORRUPTIONS, Chance, corrupted, drawn_chance
from nni_wcnas.functional.image_range import signed_to_unit, unit_to_signed
from nni_wcnas.functional.relaxed_choices import check_temperature, chosen, gumbel
from nni_wcnas.tester.real_images import ImagePolicy, drawn_images

__all__ = ['Corruptions', 'Draws']


class Draws(NamedTuple):
    """All that is random in a batch of N images."""

    images: Tensor
    """x_0, the real images, in [-1, 1], shape ``(N, 3, H, W)``."""
    selection: Tensor
    """g, standard Gumbel numbers, shape ``(N, 16)``."""
    chance: Chance
    """Random numbers of the corruptions themselves, such as their noise."""


class Corruptions(ImagePolicy):
    """Common corruptions as a tester: which of them spoils an image, and how severely, is B.

    Parameters
    ----------
    num_classes
        Number of classes of the real images.
    image_size
        Side of the real images, in pixels; 0 takes any.
    temperature
        Temperature of the relaxation whose gradient is taken, positive; images do not depend on it.
    pretrained
        File that pre-training wrote beside such a tester: the state of the auxiliary model, which ``make_auxiliary``
        takes from it. Selection and severities begin anew.

    Raises
    ------
    ValueError
        If a value is out of its range, or the file is damaged or was made beside another tester or for other images.

    Examples
    --------
    >>> tester = Corruptions(10, image_size=8)
    >>> clean = torch.rand(6, 3, 8, 8) * 2 - 1
    >>> noise = tester.noise(4, Batch(clean, torch.arange(6), None, clean))
    >>> tester.generate(noise).shape
    torch.Size([4, 3, 8, 8])
    """

    def __init__(self, num_classes: int, *, image_size: int = 32, temperature: float = 0.5,
                 pretrained: str | Path | None = None):
        super().__init__(num_classes, image_size, pretrained)
        check_temperature(temperature)
        self.temperature = temperature
        # All zero: equally likely corruptions, each of severity sigmoid(0) = 1/2.
        self.selection = nn.Parameter(torch.zeros(len(CORRUPTIONS)))
        self.severity = nn.Parameter(torch.zeros(len(CORRUPTIONS)))

    def noise(self, count: int, source: Batch | None = None) -> Noise:
        """Draw images of ``source``, each once before any comes again, and the random numbers of their corruptions.

        Raises
        ------
        ValueError
            If there is no ``source`` with clean images of the tester's size.
        """
        images, labels = drawn_images(self, count, source)
        # A row for each image: every image draws a corruption of its own.
        return Noise(Draws(images, gumbel(count, len(CORRUPTIONS), like=images), drawn_chance(images)), labels)

    def generate(self, noise: Noise, generator: Parameters | None = None) -> Tensor:
        """f(B, x): the images of ``noise`` after their corruptions; draws nothing."""
        b = self.hyperparameters() if generator is None else generator
        draws: Draws = noise.latent
        # Not in half precision, which would round small changes of B away.
        with torch.autocast(draws.images.device.type, enabled=False):
            pixels = signed_to_unit(draws.images)
            choice, weight = chosen(b['selection'], draws.selection, self.temperature)  # (N,)
            # The one wait for a GPU, tolist(): which functions to call is decided by the processor.
            changed = corrupted(pixels, choice.tolist(), b['severity'][choice].sigmoid(), draws.chance)
            # x_0 + w (x_k - x_0) with w = 1 + weight; weight is zero with the derivative of the softmax.
            return unit_to_signed(changed + weight.view(-1, 1, 1, 1) * (changed - pixels))

    @torch.no_grad()
    def values(self) -> dict[str, float]:
        """Sum B up for logs: entropy of the selection (nats; ln 16 to begin with), largest share of a corruption, and
        the severity to be expected of a drawn one."""
        shares = self.selection.double().softmax(0)
        return {
            'corruption_entropy': torch.special.entr(shares).sum().item(),
            'corruption_share': shares.max().item(),
            'corruption_severity': (shares * self.severity.double().sigmoid()).sum().item(),
        }

    @torch.no_grad()
    def rows(self) -> list[dict[str, Any]]:
        """Return share, name and severity of each corruption as plain dictionaries, largest share first."""
        shares, severities = self.selection.softmax(0).tolist(), self.severity.sigmoid().tolist()
        order = sorted(range(len(CORRUPTIONS)), key=shares.__getitem__, reverse=True)
        return [{'share': shares[k], 'corruption': CORRUPTIONS[k].name, 'severity': severities[k]} for k in order]
