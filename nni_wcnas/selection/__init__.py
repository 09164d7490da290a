"""How the cell is read off."""

from nni_wcnas.selection.magnitude import Magnitude
from nni_wcnas.selection.max_skips import MaxSkips
from nni_wcnas.selection.top_pairs import TopPairs

__all__ = ['Magnitude', 'MaxSkips', 'TopPairs']
