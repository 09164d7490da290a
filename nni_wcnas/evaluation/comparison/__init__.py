"""Several trained networks compared on one page, from their records."""

from .comparison_page import comparison_page, verdict
from .method import ComparisonError, Method, group_records

__all__ = ['ComparisonError', 'Method', 'comparison_page', 'group_records', 'verdict']
