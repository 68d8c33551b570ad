"""Tables on standard output: drawn on a terminal, aligned plain text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bncore.config.errors import escape_control


class Output(Console):
    """Standard output; a reader who has gone is an exception, as for everything else that is printed."""

    def __init__(self, *, piped_width: int) -> None:
        super().__init__(width=None if sys.stdout.isatty() else piped_width, highlight=False)

    def on_broken_pipe(self) -> None:
        """Let the error pass, which ends the command quietly (`bntui.cli.main`)."""
        raise BrokenPipeError


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header. Piped, a row is never wrapped: lines are for other programs."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold", no_wrap=not sys.stdout.isatty())
    for row in rows:
        table.add_row(*(escape(escape_control(cell)) for cell in row))
    Output(piped_width=10_000).print(table)
