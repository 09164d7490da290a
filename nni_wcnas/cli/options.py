"""``nni-wcnas options``: the registry of all options as a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from nni_wcnas.options import OPTIONS

__all__ = ['print_options']


def print_options() -> None:
    """Print every option with its axis, name, description and paper; an axis is named on its first row only."""
    table = Table('axis', 'name', 'description', 'paper')
    axis = None
    for row in OPTIONS:
        if axis is not None and row.axis != axis:
            table.add_section()
        table.add_row(row.axis if row.axis != axis else '', row.name, row.description, row.paper)
        axis = row.axis
    Console().print(table)
