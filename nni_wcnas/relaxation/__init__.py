"""How the discrete choice is made continuous."""

from nni_wcnas.relaxation.softmax import Softmax

__all__ = ['Softmax']
