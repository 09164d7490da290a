"""What the architecture is while the weights learn."""

from nni_wcnas.smoothing.no_smoothing import NoSmoothing

__all__ = ['NoSmoothing']
