"""Several trained networks compared on one page, from their records."""

from .method import ComparisonError, Method, group_records
from .page import comparison_page, verdict

__all__ = ['ComparisonError', 'Method', 'comparison_page', 'group_records', 'verdict']
