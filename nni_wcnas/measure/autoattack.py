"""AutoAttack: four attacks without settings, one after the other, all of which an image must withstand.

The attacks are APGD on the cross-entropy, targeted APGD, targeted FAB and the black-box Square attack, by the optional
package pyautoattack. Its error is the least optimistic of all and by far the slowest to compute: an image that
withstands takes a thousand passes through the network and more.

Reference: Croce, Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
Attacks", ICML 2020.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nni_wcnas.functional.random_state import untouched_random_state

__all__ = ['autoattack', 'require_autoattack']

_TARGETS = 9
"""How many other classes the targeted attacks try, the likeliest first: AutoAttack's own number."""


def require_autoattack() -> type[Any]:
    """Return the class ``AutoAttack`` of the optional package.

    Raises
    ------
    ModuleNotFoundError
        If pyautoattack is not installed.
    """
    try:
        from pyautoattack import AutoAttack  # Here, because nothing else needs it.
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('AutoAttack is in a package of its own: run pip install pyautoattack') from error
    return AutoAttack


def autoattack(model: nn.Module, pixels: Tensor, labels: Tensor, *, epsilon: float = 8 / 255, seed: int = 0) -> Tensor:
    """Attack within ``epsilon`` in the largest change of a pixel; torch's global random state stays as it was.

    Parameters
    ----------
    model
        Maps pixels ``(N, 3, H, W)`` in [0, 1] to logits ``(N, classes)``; in evaluation mode.
    pixels
        In [0, 1], shape ``(N, 3, H, W)``, on the model's device.
    labels
        The true classes, shape ``(N,)``.
    epsilon
        Largest change of a pixel.
    seed
        Seed of the random starts.

    Returns
    -------
    Tensor
        Attacked pixels, shape ``(N, 3, H, W)``; an image that withstood all attacks is returned as it was.

    Raises
    ------
    ModuleNotFoundError
        If pyautoattack is not installed.
    ValueError
        If there are fewer than 4 classes, for which the targeted loss cannot be computed.
    """
    attack_class = require_autoattack()
    with torch.no_grad():
        classes = model(pixels[:1]).shape[1]
    # The targeted loss divides by the largest logit less the mean of the third and the fourth.
    if classes < 4:
        raise ValueError(f'AutoAttack needs at least 4 classes, and there are {classes}: leave it out')
    attack = attack_class(model, device=pixels.device, eps=epsilon, norm='Linf', seed=seed, version='standard')
    # Its 9 target classes are those of CIFAR-10; with fewer than 10 classes there are not so many.
    attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(_TARGETS, classes - 1)
    # The package seeds torch's global generators, those of GPUs too.
    with untouched_random_state():
        attacked, _ = attack.run_standard_evaluation(pixels, labels, batch_size=len(pixels))
    return attacked
