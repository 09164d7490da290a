"""Templates of all that becomes HTML: a text is shown as it is and never interpreted, whatever it holds."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

__all__ = ['Cell', 'Picture', 'Section', 'note', 'page', 'picture', 'render', 'table']

_KINDS = {'.svg': 'image/svg+xml', '.png': 'image/png'}
"""Media type of a picture by the suffix of its file."""
# Every value is escaped unless it is the output of another template, and a value that is missing is an error.
_ENVIRONMENT = Environment(loader=PackageLoader('nni_wcnas.page'), autoescape=True, undefined=StrictUndefined,
                           trim_blocks=True, lstrip_blocks=True)


@dataclass(frozen=True)
class Cell:
    """A cell of a table: a text, a smaller detail behind it, how it is set, and where it leads to."""

    text: str
    detail: str = ''
    kind: Literal['plain', 'strong', 'code', 'missing'] = 'plain'
    link: str = ''
    """Relative address, percent-encoded."""


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading: a remark in plain text, and a body that templates made.

    A section with neither is left out.
    """

    title: str
    body: Markup
    note: str = ''


@dataclass(frozen=True)
class Picture:
    """A picture inside a page: its ``source`` as a data URL, its text for those who cannot see it, and its caption."""

    source: str
    description: str
    caption: str


def render(template: str, **values: object) -> Markup:
    """Fill in a template.

    Parameters
    ----------
    template
        Name of a file in ``templates/``, without its suffix.
    values
        What the template asks for; texts are plain.
    """
    return Markup(_ENVIRONMENT.get_template(f'{template}.html').render(values))


def page(title: str, sections: Iterable[Section], *, subtitle: str = '', verdict: str = '',
         remarks: Sequence[str] = ()) -> str:
    """Write a whole HTML document, which needs no file beside it and asks no host for anything.

    Parameters
    ----------
    title
        Title and heading of the page.
    sections
        Its parts, in their order.
    subtitle, verdict, remarks
        What stands between the heading and the first section: what the page is of, what it concludes, what limits that.
    """
    shown = [section for section in sections if section.body or section.note]
    return render('page', title=title, sections=shown, subtitle=subtitle, verdict=verdict, remarks=remarks)


def table(header: Sequence[str], rows: Iterable[Sequence[Cell | str]], numbers: frozenset[int] = frozenset(), *,
          has_row_heads: bool = False, total: int | None = None) -> Markup:
    """Write a table; on a narrow screen each row becomes a list of the columns' heads and values.

    Parameters
    ----------
    header
        Heads of the columns; empty for no header.
    rows
        Cells of each row.
    numbers
        Positions of the columns that hold numbers, which are aligned to the right.
    has_row_heads
        Whether the first cell of each row is its head.
    total
        Position of a row that sums up the others; None without one.
    """
    cells = [[cell if isinstance(cell, Cell) else Cell(str(cell)) for cell in row] for row in rows]
    return render('table', header=header, rows=cells, numbers=numbers, has_row_heads=has_row_heads, total=total)


def note(text: str, command: str = '') -> Markup:
    """Write a remark, which may end in a command to run."""
    return render('note', text=text, command=command)


def picture(path: Path, description: str, caption: str) -> Picture:
    """Read a picture's file, an SVG or a PNG, into a page."""
    # Base64 for SVG too: as an image it can neither run scripts nor load anything.
    source = f'data:{_KINDS[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}'
    return Picture(source, description, caption)
