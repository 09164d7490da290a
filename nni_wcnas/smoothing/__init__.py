"""What the architecture is while the weights learn."""

from nni_wcnas.smoothing.adversarial_smoothing import AdversarialSmoothing
from nni_wcnas.smoothing.no_smoothing import NoSmoothing
from nni_wcnas.smoothing.random_smoothing import RandomSmoothing

__all__ = ['AdversarialSmoothing', 'NoSmoothing', 'RandomSmoothing']
