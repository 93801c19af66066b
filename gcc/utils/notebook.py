"""Tables for notebooks, which show an object by its `_repr_html_`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape


def html_table(title: str, columns: Sequence[str], rows: Mapping[str, Iterable[str]]) -> str:
    """Return a table as HTML with every text escaped.

    Args:
        title: the table's caption.
        columns: the headings of the columns after the first; empty for a table without headings.
        rows: the cells of each row by its title.
    """
    heading = f"<thead><tr><th></th>{''.join(f'<th>{escape(text)}</th>' for text in columns)}</tr></thead>" if columns else ""
    body = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>" for name, cells in rows.items()
    )
    return f"<table><caption>{escape(title)}</caption>{heading}<tbody>{body}</tbody></table>"
