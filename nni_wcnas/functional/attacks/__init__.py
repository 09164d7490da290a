"""Attacks: the pixels near an image that a network errs on, found with the network's own gradients.

All take a model from pixels in [0, 1] to logits, with any normalisation inside, and return pixels in [0, 1].
"""

from nni_wcnas.functional.attacks.carlini_wagner import carlini_wagner
from nni_wcnas.functional.attacks.gradient_sign import adversarial_examples, fgsm, pgd

__all__ = ['adversarial_examples', 'carlini_wagner', 'fgsm', 'pgd']
