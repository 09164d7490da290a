"""A learned augmentation policy as a tester: real images, changed so that they are hard, by equation 6 of the paper.

A policy chooses among all pairs of its operations (:mod:`nni_wcnas.functional.augmentation_operations`), 105 of DADA's
fifteen; each operation of a pair has a probability and a magnitude. Its parameters P are the tester's hyper-parameters
B themselves: there is no generator, and dB is dP. Pre-training beside a policy trains the auxiliary model, and its file
serves as the policy's ``pretrained`` as well. ``WorstCase`` uses a policy where no other tester is given.

    k        =  argmax(selection + g)                            which pair; g Gumbel noise
    b_i      =  [probability_ki + l_i > 0]                       whether its operation i = 1, 2 acts; l logistic noise
    m_i      =  sigmoid(magnitude_ki)
    x_i      =  x_(i-1) + b_i (op_ki(x_(i-1), m_i) - x_(i-1))    x_0 the real image, pixels in [0, 1]
    f(P, x)  =  2 (x_0 + w_k (x_2 - x_0)) - 1                    w_k = 1

The gradient is straight-through. The gradient of b_i is that of sigmoid((probability_ki + l_i) / temperature). The
gradient of w_k is that of softmax((selection + g) / temperature)_k, through which all logits learn; of the relaxed sum
over pairs, x_0 + sum_j w_j (x_2j - x_0), the chosen term alone is computed. An image has the operation's own derivative
in m_i or, where the operation has none, a derivative of 1 in every pixel
(:mod:`nni_wcnas.functional.augmentation_operations`). Images can be differentiated twice.

Deviations from DADA: these gates for all parameters, as in its Gumbel-softmax variant, in place of its RELAX estimator;
each image has a pair of its own (``per_sample=False``: one for the batch, as there); magnitudes are sigmoids, not
clamped; shears, translations and rotations interpolate, so that they have derivatives; the cut square is plain grey. At
the start (m = 1/2) operations whose range is symmetric leave images as they are.

Which operations there are decides what the worst case can be. DADA's can invert an image or black it out, which raises
any network's loss; a search then learns from images that no architecture could read. The set ``'gentle'`` has only
operations that leave an image readable (docs/shortcuts.md).

Cost: two operations an image, a few thousandths of a pass through a supernet; on a GPU the processor waits once for
which pairs were chosen.

References
----------
papers/wcnas, section 3.3, equation 6; Li et al., "DADA: Differentiable Automatic Data Augmentation", ECCV 2020.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nni_wcnas.contracts import Batch, Noise, Parameters
from nni_wcnas.functional.augmentation_operations import OperationChoice, chosen_operations
from nni_wcnas.functional.image_range import signed_to_unit, unit_to_signed
from nni_wcnas.functional.relaxed_choices import check_temperature, chosen, gumbel, switched
from nni_wcnas.functional.sub_policies import Slot, operate
from nni_wcnas.tester.real_images import ImagePolicy, drawn_images

__all__ = ['AugmentationPolicy', 'Draws', 'SubPolicy']


class Draws(NamedTuple):
    """All that is random in a batch of N images; n is N where each image draws a sub-policy of its own, else 1."""

    images: Tensor
    """x_0, the real images, in [-1, 1], shape ``(N, 3, H, W)``."""
    selection: Tensor
    """g, standard Gumbel numbers, shape ``(n, pairs)``."""
    switches: Tensor
    """l, standard logistic numbers, shape ``(n, 2)``."""
    signs: Tensor
    """Signs of geometric operations, -1 or 1, shape ``(N, 2)``."""
    places: Tensor
    """Row and column, in image sides, for operations that act at a place; in [0, 1), shape ``(N, 2, 2)``."""


class SubPolicy(NamedTuple):
    """One row of a policy: a pair of operations and what the policy has learned of it."""

    share: float
    """Probability that the pair is chosen."""
    operations: tuple[str, str]
    """Names of the two operations, in the order in which they act."""
    probabilities: tuple[float, float]
    """Probability that each operation acts, where the pair is chosen."""
    magnitudes: tuple[float, float]
    """Magnitudes in [0, 1], from the low end of each operation's range to the high one."""


class AugmentationPolicy(ImagePolicy):
    """An augmentation policy, P: which pair of operations changes an image, how likely, and how strongly.

    Parameters
    ----------
    num_classes
        Number of classes of the real images.
    image_size
        Side of the real images, in pixels; 0 takes any.
    operations
        ``'dada'``, DADA's fifteen; ``'gentle'``, which leave an image readable; names in
        :data:`~nni_wcnas.functional.augmentation_operations.OPERATIONS`; or a range of values for each name, as
        ``{'hue': [-90, 90], 'blur': None}``, None for the usual one.
    per_sample
        Whether each image draws a sub-policy of its own, or one serves the whole batch.
    temperature
        Temperature of the relaxations whose gradient is taken, positive; images do not depend on it.
    pretrained
        File that pre-training wrote beside such a policy: the state of the auxiliary model, which ``make_auxiliary``
        takes from it. The policy itself begins anew.

    Raises
    ------
    ValueError
        If a value is out of its range, or the file is damaged or was made beside another tester or for other images.

    Examples
    --------
    >>> policy = AugmentationPolicy(10, image_size=8)
    >>> clean = torch.rand(6, 3, 8, 8) * 2 - 1
    >>> noise = policy.noise(4, Batch(clean, torch.arange(6), None, clean))
    >>> policy.generate(noise).shape
    torch.Size([4, 3, 8, 8])
    """

    def __init__(self, num_classes: int, *, image_size: int = 32, operations: OperationChoice = 'dada',
                 per_sample: bool = True, temperature: float = 0.5, pretrained: str | Path | None = None):
        super().__init__(num_classes, image_size, pretrained)
        check_temperature(temperature)
        self.per_sample, self.temperature = per_sample, temperature
        self.operations = chosen_operations(operations)
        self.pairs = tuple(combinations(range(len(self.operations)), 2))
        """Positions in ``operations`` of the two operations of each sub-policy, in the order in which they act."""
        # All zero: equally likely pairs, and sigmoid(0) = 1/2 for each probability and magnitude, as DADA starts.
        self.selection = nn.Parameter(torch.zeros(len(self.pairs)))
        self.probability = nn.Parameter(torch.zeros(len(self.pairs), 2))
        self.magnitude = nn.Parameter(torch.zeros(len(self.pairs), 2))

    def noise(self, count: int, source: Batch | None = None) -> Noise:
        """Draw images of ``source``, each once before any comes again, and the random numbers of their sub-policies.

        Raises
        ------
        ValueError
            If there is no ``source`` with clean images of the policy's size.
        """
        clean, labels = drawn_images(self, count, source)
        drawn = count if self.per_sample else 1
        return Noise(
            Draws(
                images=clean,
                selection=gumbel(drawn, len(self.pairs), like=clean),
                # The difference of two Gumbel numbers is logistic: l + logit > 0 has probability sigmoid(logit).
                switches=gumbel(drawn, 2, like=clean) - gumbel(drawn, 2, like=clean),
                signs=torch.randint(2, (count, 2), device=clean.device).to(clean.dtype) * 2 - 1,
                places=torch.rand(count, 2, 2, device=clean.device, dtype=clean.dtype),
            ),
            labels,
        )

    def generate(self, noise: Noise, generator: Parameters | None = None) -> Tensor:
        """f(P, x): the images of ``noise`` after their sub-policies; draws nothing."""
        policy = self.hyperparameters() if generator is None else generator
        draws: Draws = noise.latent
        # Not in half precision, which would round small changes of P away.
        with torch.autocast(draws.images.device.type, enabled=False):
            pixels = signed_to_unit(draws.images)
            choice, weight = chosen(policy['selection'], draws.selection, self.temperature)  # (n,)
            is_on, gate = switched(policy['probability'][choice], draws.switches, self.temperature)  # (n, 2)
            magnitude = policy['magnitude'][choice].sigmoid()  # (n, 2)
            # weight and gate are zeros that carry a derivative. With n = 1 all images share one row of choices.
            changed, count = pixels, len(pixels)
            # The one wait for a GPU: which functions to call is decided by the processor.
            pairs = [self.pairs[k] for k in choice.expand(count).tolist()]
            for i in range(2):
                on, relaxed, m = (part[:, i].expand(count) for part in (is_on, gate, magnitude))
                slot = Slot(on, relaxed, m, draws.signs[:, i], draws.places[:, i])
                changed = operate(changed, self.operations, [pair[i] for pair in pairs], slot)
            # x_0 + w (x_2 - x_0) with w = 1 + weight, rearranged so that the value is exactly x_2.
            mixed = changed + weight.view(-1, 1, 1, 1) * (changed - pixels)
            return unit_to_signed(mixed)

    @torch.no_grad()
    def values(self) -> dict[str, float]:
        """Sum P up for logs: entropy of the selection (nats; ln 105 to begin with for DADA's), largest share of a
        sub-policy, mean probability and mean magnitude over all sub-policies."""
        shares = self.selection.double().softmax(0)
        return {
            'policy_entropy': torch.special.entr(shares).sum().item(),
            'policy_share': shares.max().item(),
            'policy_probability': self.probability.sigmoid().mean().item(),
            'policy_magnitude': self.magnitude.sigmoid().mean().item(),
        }

    @torch.no_grad()
    def sub_policies(self, count: int = 25) -> list[SubPolicy]:
        """Return the ``count`` sub-policies with the largest shares, largest first; DADA keeps 25."""
        shares = self.selection.softmax(0)
        order = shares.argsort(descending=True, stable=True)[:count].tolist()
        columns = (shares, self.probability.sigmoid(), self.magnitude.sigmoid())
        share, probability, magnitude = (column.tolist() for column in columns)
        return [
            SubPolicy(share[k], self._names(k), (*probability[k],), (*magnitude[k],)) for k in order
        ]

    def rows(self) -> list[dict[str, Any]]:
        """Return the strongest sub-policies as plain dictionaries for a file, largest share first."""
        return [row._asdict() for row in self.sub_policies()]

    def _names(self, k: int) -> tuple[str, str]:
        """Return the names of the two operations of sub-policy ``k``."""
        first, second = (self.operations[position].name for position in self.pairs[k])
        return first, second
