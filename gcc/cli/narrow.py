"""Tables that become lines on a narrow terminal, so that no value is cut."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gcc.cli.wrapping import NARROW


class NarrowTable:
    """A table, or on a narrow terminal a paragraph for each row: its first cell, then a line with heading and value for each other cell.

    Args:
        table: the table.
    """

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        natural = Measurement.get(console, options.update(max_width=10_000), self.table)
        width = options.max_width
        if natural.maximum <= width or (width >= NARROW and natural.minimum <= width):
            yield self.table
        else:
            yield from self._lines()

    def _lines(self) -> Iterator[RenderableType]:
        if self.table.title:
            yield Text(str(self.table.title), style="bold")
        first, *others = self.table.columns
        for title, *cells in zip(first.cells, *(column.cells for column in others), strict=True):
            yield title if isinstance(title, Text) else Text(str(title))
            values = Table.grid(padding=(0, 2))
            for column, cell in zip(others, cells, strict=True):
                if str(cell):
                    values.add_row(column.header, cell)
            yield Padding(values, (0, 0, 0, 2))
