"""Asks for the range of a chart's y axis."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rich.text import Text
from textual import on
from textual.widget import Widget
from textual.widgets import Input, Static

from bncore.figure import ChartData, Span
from bntui.chart.ticks import exact
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


def span_of(text: str, *, log: bool) -> Span | None:
    """``0.1 10``; None where nothing was typed.

    Raises:
        ValueError: it is no range of such an axis.
    """
    words = text.replace(",", " ").split()
    if not words:
        return None
    try:
        low, high = map(float, words)
    except ValueError:
        raise ValueError("expected two numbers, such as 0.1 10") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError("expected two finite numbers, the smaller one first")
    if log and low <= 0:
        raise ValueError("expected numbers above 0: the axis is logarithmic (y: linear)")
    return low, high
