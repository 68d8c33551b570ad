"""Tables on standard output and number formats: tables are drawn on a terminal, aligned plain text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bncore.config.errors import escape_control
from bntui.fitting import columns_within

EDGES, GAP = 2, 3
"""Cells at the edges of a row, and between two columns."""


class Output(Console):
    """Standard output; a closed pipe raises an exception, as for everything else that is printed."""

    def __init__(self, *, piped_width: int) -> None:
        super().__init__(width=None if sys.stdout.isatty() else piped_width, highlight=False)

    def on_broken_pipe(self) -> None:
        """Raise the error, which ends the command quietly (`bntui.cli.main`)."""
        raise BrokenPipeError


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, least_first: Sequence[str] = ()
) -> None:
    """Print rows under a header. Into a pipe, rows are never wrapped, so that other programs can read lines.

    Arguments:
        least_first: columns in the order in which they are dropped until a row fits on a line.
    """
    console = Output(piped_width=10_000)
    console.print(drawn(console.width, header, rows, least_first=least_first))


def drawn(
    width: int, header: Sequence[str], rows: Sequence[Sequence[str]], *, least_first: Sequence[str] = ()
) -> Table:
    """The table, fitted to `width` cells as by `print_table`."""
    rows = [[escape_control(cell) for cell in row] for row in rows]
    fitting = columns_within(width - EDGES, header, rows, least_first, gap=GAP)
    header, rows = [header[i] for i in fitting], [[row[i] for i in fitting] for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold", no_wrap=not sys.stdout.isatty())
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def figure(value: float | str | None, form: str = ".4g") -> str:
    """A number for a table, or `-` for None."""
    return "-" if value is None else format(float(value), form)


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
