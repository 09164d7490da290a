"""The frame of every HTML page: one file that asks no host for anything, for light, dark, phone and paper."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ['escape', 'image_source', 'page', 'table']

_KINDS = {'.svg': 'image/svg+xml', '.png': 'image/png'}
"""Media type of a picture by the suffix of its file."""

_STYLE = '''
:root { color-scheme: light dark; --ink: #1c2230; --soft: #5b6472; --line: #d9dde4; --back: #ffffff; --panel: #f6f7f9;
  --c0: #0063a5; --c1: #b3470f; --link: #0063a5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaf0; --soft: #a3acba; --line: #363c48; --back: #14171d;
  --panel: #1c2028; --c0: #5db4f2; --c1: #f3a25f; --link: #7cc3f7; } }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --line: #ccc; --back: #fff; --panel: #fff;
  --c0: #0063a5; --c1: #b3470f; } main { max-width: none !important; padding: 0 !important; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; break-after: avoid; }
h3 { font-size: .95rem; margin: 0; }
p { max-width: 46rem; } .soft, figcaption { color: var(--soft); font-size: .9rem; } a { color: var(--link); }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); }
.tiles { grid-template-columns: repeat(auto-fill, minmax(min(13rem, 100%), 1fr)); }
figure { margin: 0; padding: .8rem; background: var(--panel); border: 1px solid var(--line); border-radius: .5rem;
  break-inside: avoid; }
figure + figure.wide, .wide + .wide { margin-top: 1rem; }
img { display: block; width: 100%; height: auto; } .tiles img { image-rendering: pixelated; }
.wide img { max-width: 56rem; margin: 0 auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; } td.number, th.number { text-align: right; } td { overflow-wrap: anywhere; }
.scroll th, .scroll td.number { white-space: nowrap; }
svg.curve { display: block; width: 100%; height: auto; overflow: visible; }
svg.curve text { fill: var(--soft); font-size: 11px; } svg.curve .rule { stroke: var(--line); stroke-width: 1; }
svg.curve .s0 { stroke: var(--c0); fill: var(--c0); } svg.curve .s1 { stroke: var(--c1); fill: var(--c1); }
svg.curve .path { fill: none; stroke-width: 1.8; stroke-linejoin: round; } svg.curve .s1.path { stroke-dasharray: 5 3; }
svg.curve circle { stroke: none; }
.k0, .k1 { margin-right: 1rem; font-weight: 600; } .k0 { color: var(--c0); } .k1 { color: var(--c1); }
.k0::before { content: "— "; } .k1::before { content: "- - "; }
'''


def page(title: str, body: str, style: str = '') -> str:
    """Write a whole HTML document.

    Parameters
    ----------
    title
        Title of the document, plain text.
    body
        Content of the page, HTML.
    style
        CSS that this page adds to the style of all.
    """
    # The policy forbids scripts and every other host, whatever a setting's text may contain.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<title>{escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n'
        f'<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n')


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: frozenset[int] = frozenset()) -> str:
    """Write a table that scrolls sideways where it is too wide for the page.

    Parameters
    ----------
    header
        Heads of the columns, plain text; empty for no header.
    rows
        Cells of each row, HTML.
    numbers
        Positions of the columns that hold numbers, which are aligned to the right.
    """
    # Cells come as HTML from functions of this package; heads are plain text and are escaped here.
    kinds = dict.fromkeys(numbers, ' class="number"')
    head = ''.join(f'<th{kinds.get(column, "")}>{escape(text)}</th>' for column, text in enumerate(header))
    lines = [''.join(f'<td{kinds.get(column, "")}>{cell}</td>' for column, cell in enumerate(row)) for row in rows]
    body = '\n'.join(f'<tr>{line}</tr>' for line in lines)
    return f'<div class="scroll"><table>\n{f"<tr>{head}</tr>" if header else ""}\n{body}\n</table></div>'


def image_source(path: Path) -> str:
    """Return a picture's content as the value of ``src``, so that the page needs no file beside it."""
    # Base64 for SVG too: as an image it can neither run scripts nor load anything.
    return f'data:{_KINDS[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}'


def escape(text: object) -> str:
    """Convert plain text, or the text of any object, to HTML; also safe in the quotes of an attribute."""
    return html.escape(str(text))
