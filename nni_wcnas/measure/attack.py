"""Measure a trained network under attack: table 15 of papers/wcnas, and error curves over the size of the attack.

Every attack knows the network, its normalisation included, and changes pixels in [0, 1]::

    fgsm          one step of epsilon
    pgd_N         N steps of epsilon / 4 from a random start within epsilon
    cw_l2         the nearest adversarial pixels in Euclidean distance, however far, in 6 searches of 100 steps
    autoattack    four attacks within epsilon; needs the optional package pyautoattack

The paper gives neither epsilon nor the attacks' settings, nor how the networks of its table were trained to withstand
them: epsilon = 8/255 with steps of 2/255 are Madry's. Nor does it say how far its Carlini and Wagner attack may go. At
some distance that attack succeeds on nearly all images of nearly any network, so the error within a distance of 0.5 is
given beside the error at any distance. The distances that 9 searches of 1000 steps find are a few percent smaller, for
15 times the cost.

References
----------
papers/wcnas, appendix B.3; Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018;
Carlini, Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017.
"""

from __future__ import annotations

import copy
import math
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from nni_wcnas.contracts import Batch
from nni_wcnas.data.augmentation import normalise
from nni_wcnas.data.seeding import derive_generator, derive_seed
from nni_wcnas.functional.attacks import carlini_wagner, fgsm, pgd
from nni_wcnas.functional.image_range import signed_to_unit
from nni_wcnas.measure.autoattack import autoattack, require_autoattack

__all__ = ['ATTACKS', 'AttackData', 'OnPixels', 'attack_curve', 'attack_errors', 'on_pixels']

ATTACKS = ('fgsm', 'pgd_10', 'pgd_20', 'pgd_100', 'cw_l2')
"""The attacks of the paper's table 15."""

_BATCH = 100
"""How many images are attacked at once; the random starts depend on it, as batches draw from one stream in turn."""
_STEPS_ACROSS = 4
"""How many steps of PGD lead from the middle of the ball to its edge: 2/255 for Madry's 8/255."""
_RADIUS = 0.5
"""Euclidean distance that is the usual limit of attacks on small images."""

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""A function from a model of pixels in [0, 1], pixels and labels to attacked pixels."""


class AttackData(Protocol):
    """The interface that an attack needs of its data; :class:`nni_wcnas.data.ImageData` has it."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    num_classes: int

    def examples(self, part: Any, per_class: int) -> Batch:
        """Return the first examples of each class as one batch, with clean images in [-1, 1]."""


class OnPixels(nn.Module):
    """A network for normalised images, made one for pixels in [0, 1]; see :func:`on_pixels`."""

    def __init__(self, network: nn.Module, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.network = network
        self.mean = mean
        self.std = std

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels in [0, 1], shape ``(N, 3, H, W)``, to the network's logits ``(N, classes)``."""
        return self.network(normalise(pixels, self.mean, self.std))

    def pixels(self, images: Tensor) -> Tensor:
        """Undo the normalisation: map images as the network is given them to pixels in [0, 1], same shape."""
        # (3,) -> (3, 1, 1), which broadcasts over (N, 3, H, W).
        shift, scale = (torch.tensor(values).to(images)[:, None, None] for values in (self.mean, self.std))
        return (images * scale + shift).clamp(0, 1)


def on_pixels(
    network: nn.Module, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> OnPixels:
    """Put the normalisation into a network.

    Parameters
    ----------
    network
        Maps normalised images to logits; shared, not copied, and left in its mode.
    mean, std
        Mean and standard deviation of each channel, pixels in [0, 1].

    Returns
    -------
    OnPixels
        Maps pixels in [0, 1] to the same logits. Use it in adversarial training as::

            model = on_pixels(network, data.mean, data.std)
            with evaluation_mode(network):
                pixels = adversarial_examples(model, model.pixels(images), labels, generator=generator)
            loss = cross_entropy(model(pixels), labels)
    """
    return OnPixels(network, mean, std)


def attack_errors(
    network: nn.Module,
    data: AttackData,
    attacks: Sequence[str] = ATTACKS,
    *,
    limit: int | None = 1000,
    seed: int = 0,
    epsilon: float = 8 / 255,
    progress: bool = False,
) -> dict[str, float]:
    """Attack a copy of a network in evaluation mode and float32, on test examples.

    Parameters
    ----------
    network
        Maps normalised images to logits; it is attacked where it is, and stays as it was.
    data
        Data with test examples, e.g. a :class:`nni_wcnas.data.ImageData`.
    attacks
        Names of attacks: ``'fgsm'``, ``'pgd_N'`` with any number of steps N, ``'cw_l2'``, ``'autoattack'``.
    limit
        About how many test examples to attack: the first ``limit // num_classes`` of each class; None attacks all.
    seed
        Seed of the random starts.
    epsilon
        Largest change of a pixel, on the scale [0, 1]; it has no effect on ``'cw_l2'``.
    progress
        Whether to show a progress bar.

    Returns
    -------
    dict
        ``error_before_attacks`` and ``attacked_examples``; ``error_{attack}`` for each attack. With ``'cw_l2'`` also
        ``error_cw_l2_within_0.5``, which counts only attacks that near, and ``distance_cw_l2``, the median Euclidean
        distance. In the median an image that withstood is infinitely far, and one that is wrong without an attack is
        near; it is missing where more than half of the images withstood. Errors are shares.

    Raises
    ------
    ValueError
        If there is no such attack, or a number is out of range.
    ModuleNotFoundError
        If ``'autoattack'`` is asked for and pyautoattack is not installed.
    """
    if not 0 < epsilon < math.inf:
        raise ValueError(f'epsilon must be above 0 and finite, not {epsilon}')
    # Built first, so that an unknown name or a missing package is found before any attack takes its time.
    chosen = {name: _attack(name, epsilon, seed) for name in attacks}
    victim = _Victim(network, data, limit)
    measures = {'error_before_attacks': victim.error(victim.pixels), 'attacked_examples': float(len(victim.labels))}
    for name, attack in chosen.items():
        attacked = victim.attacked(attack, name if progress else None)
        measures[f'error_{name}'] = victim.error(attacked)
        if name == 'cw_l2':
            measures |= _within(victim, attacked)
    return measures


def attack_curve(
    network: nn.Module,
    data: AttackData,
    epsilons: Sequence[float],
    *,
    steps: int = 20,
    limit: int | None = 1000,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, float]:
    """Measure the error under PGD as a function of epsilon, on the same examples as :func:`attack_errors`.

    Parameters
    ----------
    network, data, limit, seed, progress
        As for :func:`attack_errors`.
    epsilons
        Sizes of the attack, each 0 or more, on the scale [0, 1]; 0 is no attack. The step size is a quarter of it.
    steps
        Number of steps of PGD.

    Returns
    -------
    dict
        ``error_pgd_{steps}_at_{n}`` where epsilon is n / 255, in the order of the epsilons.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    for epsilon in epsilons:
        if not 0 <= epsilon < math.inf:
            raise ValueError(f'each epsilon must be 0 or more and finite, not {epsilon}')
    # A generator of its own for each epsilon: all points of the curve start in the same directions from the images.
    chosen = {epsilon: _pgd(steps, epsilon, seed) if epsilon else None for epsilon in epsilons}
    victim = _Victim(network, data, limit)
    errors = {}
    for epsilon, attack in chosen.items():
        name = f'pgd_{steps}_at_{255 * epsilon:.6g}'
        attacked = victim.pixels if attack is None else victim.attacked(attack, name if progress else None)
        errors[f'error_{name}'] = victim.error(attacked)
    return errors


class _Victim:
    """A copy of a network, and the test examples that it is attacked on.

    It is a copy so that no flag, precision or gradient of the original changes.
    """

    def __init__(self, network: nn.Module, data: AttackData, limit: int | None) -> None:
        # examples() takes a number for each class; no class has so many.
        per_class = sys.maxsize if limit is None else limit // data.num_classes
        if per_class < 1:
            raise ValueError(
                f'limit={limit} is less than one example of each of the {data.num_classes} classes: '
                f'give at least {data.num_classes}'
            )
        # In float32 even where the network is in half precision, whose gradients of the loss could vanish. Parameters
        # that require no gradient save the time of computing it.
        copied = copy.deepcopy(network).float().eval().requires_grad_(False)
        self.model = on_pixels(copied, data.mean, data.std)
        device = next((tensor.device for tensor in copied.parameters()), torch.device('cpu'))
        batch = data.examples('test', per_class)
        if batch.clean is None:
            raise ValueError('The test examples have no clean images: use data of nni_wcnas.data')
        # Clean images are in [-1, 1], attacks work on [0, 1].
        self.pixels = signed_to_unit(batch.clean.float()).to(device)
        self.labels = batch.labels.to(device)

    def attacked(self, attack: Attack, description: str | None) -> Tensor:
        """Return the pixels after an attack, shape ``(N, 3, H, W)``; a description shows a progress bar."""
        parts = list(zip(self.pixels.split(_BATCH), self.labels.split(_BATCH)))
        bar = tqdm(parts, desc=description, unit='batch', disable=description is None)
        return torch.cat([attack(self.model, pixels, labels) for pixels, labels in bar])

    def error(self, pixels: Tensor) -> float:
        """Return the share of images, given as pixels, that the network does not give their labels."""
        return self.is_wrong(pixels).double().mean().item()

    @torch.no_grad()
    def is_wrong(self, pixels: Tensor) -> Tensor:
        """Return which images, given as pixels, the network does not give their labels, bool, shape ``(N,)``."""
        found = torch.cat([self.model(part).argmax(1) for part in pixels.split(_BATCH)])
        return found != self.labels


def _attack(name: str, epsilon: float, seed: int) -> Attack:
    """Build the attack of this name."""
    steps = re.fullmatch(r'pgd_([1-9]\d*)', name)
    if steps:
        return _pgd(int(steps[1]), epsilon, seed)
    if name == 'fgsm':
        return partial(fgsm, epsilon=epsilon)
    if name == 'cw_l2':
        # The default of 9 searches of 1000 steps starts from a weight of 1e-3. Fewer searches start nearer to the
        # weights that they end with.
        return partial(carlini_wagner, searches=6, steps=100, initial_weight=0.1)
    if name == 'autoattack':
        require_autoattack()  # Before other attacks take their time.
        return partial(autoattack, epsilon=epsilon, seed=derive_seed(seed, name))
    raise ValueError(f"There is no attack {name!r}: use 'fgsm', 'pgd_N' with N steps, 'cw_l2' or 'autoattack'")


def _pgd(steps: int, epsilon: float, seed: int) -> Attack:
    """Build PGD with random starts that depend on the seed alone: they are the same for any number of steps."""
    generator = derive_generator(seed, 'attack')
    return partial(pgd, steps=steps, epsilon=epsilon, step_size=epsilon / _STEPS_ACROSS, generator=generator)


def _within(victim: _Victim, attacked: Tensor) -> dict[str, float]:
    """Measure the Euclidean distances to the nearest adversarial pixels."""
    # (N, 3, H, W) -> (N, 3 H W) -> (N,).
    distances = (attacked - victim.pixels).flatten(1).norm(dim=1)
    # An image without an adversarial neighbour comes back unchanged: its distance of 0 would count as the nearest.
    distances = torch.where(victim.is_wrong(attacked), distances, torch.inf)
    # torch takes the lower of two middle values, so the median is finite where half of the images fell.
    median = distances.median().item()
    near = (distances <= _RADIUS).double().mean().item()
    return {f'error_cw_l2_within_{_RADIUS}': near} | ({'distance_cw_l2': median} if median < torch.inf else {})
