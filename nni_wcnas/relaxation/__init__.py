"""How the discrete choice is made continuous."""

from nni_wcnas.relaxation.dirichlet import Dirichlet
from nni_wcnas.relaxation.gumbel_softmax import GumbelSoftmax
from nni_wcnas.relaxation.hard_concrete import HardConcrete
from nni_wcnas.relaxation.softmax import Softmax

__all__ = ['Softmax', 'GumbelSoftmax', 'Dirichlet', 'HardConcrete']
