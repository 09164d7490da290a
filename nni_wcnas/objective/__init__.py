"""What the architecture minimises."""

from nni_wcnas.objective.average_case import AverageCase
from nni_wcnas.objective.worst_case import WorstCase

__all__ = ['AverageCase', 'WorstCase']
