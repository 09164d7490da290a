"""How the cell is read off."""

from nni_wcnas.selection.magnitude import Magnitude

__all__ = ['Magnitude']
