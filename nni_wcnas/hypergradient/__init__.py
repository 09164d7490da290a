"""How the inner problem enters the architecture's gradient dA."""

from nni_wcnas.hypergradient.first_order import FirstOrder
from nni_wcnas.hypergradient.unrolled import Unrolled

__all__ = ['FirstOrder', 'Unrolled']
