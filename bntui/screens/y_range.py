"""Asks for the range of a chart's y axis."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text
from textual import on
from textual.widget import Widget
from textual.widgets import Input, Static

from bncore.figure import ChartData, Span
from bntui.chart.ticks import exact
from bntui.chart.view import span_of
from bntui.screens.dialog import Dialog


class YRange(Dialog[tuple[Span | None]]):
    """Answers the range, or None in its place: whatever fits.

    Arguments:
        data: what the chart shows.
        span: the range that is chosen now.
    """

    DEFAULT_CSS = """
    YRange Input { margin: 1 0; }
    """
    SUB_TITLE = "Enter apply   Esc cancel"

    def __init__(self, data: ChartData, span: Span | None) -> None:
        super().__init__()
        self._data, self._span, self.title = data, span, f"y range: {data.title}"

    def body(self) -> Iterable[Widget]:
        now = " ".join(map(exact, self._span or ()))
        yield Input(now, placeholder="smallest largest; empty: automatic")
        yield Static(id="problem", markup=False)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        try:
            self.dismiss((span_of(event.value, log=self._data.log_y),))
        except ValueError as error:
            self.query_one("#problem", Static).update(Text(str(error), "red"))
