"""Widgets for charts and field plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from textual.binding import BindingType
from textual.message import Message
from textual.reactive import reactive

from bncore.figure import ChartData, Curve, HeatData, HistogramData, Span
from bntui.actions import CURVES, bindings
from bntui.chart.frame import ChartStyle, TerminalPicture
from bntui.chart.picture import draw, draw_unread, pointed
from bntui.chart.plot import Plot
from bntui.chart.reading import Reading, readings, with_best, with_reached
from bntui.chart.view import SMALLEST, View

SMOOTHINGS = (0.0, 0.6, 0.9, 0.97, 0.99)
"""Values that the smoothing key cycles through."""


class Chart(Plot):
    """Curves, bands and reference lines over steps."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(CURVES)

    smoothing: reactive[float] = reactive(0.0, repaint=False)
    """From 0 to below 1."""
    log_y: reactive[bool | None] = reactive[bool | None](None, repaint=False)
    """Whether the y axis is logarithmic; None: the data's default."""

    @dataclass
    class Restyled(Message):
        """The user chose another y axis, smoothing or range of values."""

        chart: Chart

    _shown = ChartData("")
    _unread: tuple[ChartData, object, TerminalPicture] | None = None
    """The data, the other inputs, and the picture without a crosshair drawn from them."""

    def show(self, data: ChartData) -> None:
        """Show other data; smoothing is kept, and so are view and crosshair unless the x axis changes."""
        if data.x_name != self._shown.x_name:
            self.view, self._has_data = View(), False
            self.set_reactive(Plot.crosshair, None)
        self._shown = data
        self.redraw()
        self.post_first_data()

    @property
    def x_name(self) -> str:
        return self._shown.x_name

    @property
    def data(self) -> ChartData:
        """The data shown, with the user's choice of y axis."""
        return self._shown if self.log_y is None else replace(self._shown, log_y=self.log_y)

    def readings(self, selected: int | None = None) -> list[tuple[Reading, Reading | None]]:
        """Readings of the curves at the crosshair as drawn, each with its raw reading if smoothed; ordered by
        style.

        Arguments:
            selected: style of the curve whose value the others are compared with.
        """
        if self.crosshair is None or self._unread is None:
            return []
        drawn = self._read(self._unread[2].curves, self.crosshair, selected)
        raw = self._read(self.data.curves, self.crosshair) if self.smoothing else [None] * len(drawn)
        return sorted(zip(drawn, raw, strict=False), key=lambda pair: pair[0].style)

    def _read(self, curves: Sequence[Curve], x: float, selected: int | None = None) -> list[Reading]:
        """Readings at `x`, with positions in the axis's labels."""
        read = with_best(readings(curves, x, falling=self.data.falling), curves, self.data.better)
        read = with_reached(read, curves, self.data.better, selected)
        return [
            replace(
                r,
                x=self._written(r.x),
                best=r.best and (self._written(r.best[0]), r.best[1]),
                reached=r.reached and (self._written(r.reached[0]), r.reached[1]),
                end=None if r.end is None else self._written(r.end),
            )
            for r in read
        ]

    def _written(self, x: float) -> float:
        return float(self.data.x_written(np.array(x)))

    def chart_style(self) -> ChartStyle:
        return replace(super().chart_style(), smoothing=self.smoothing)

    def paint(self, width: int, height: int, chart_style: ChartStyle) -> TerminalPicture:
        drawn_for = (width, height, self.view, replace(chart_style, crosshair=None), self.log_y)
        if self._unread is None or self._unread[0] is not self._shown or self._unread[1] != drawn_for:
            unread = draw_unread(self.data, width, height, self.view, chart_style)
            self._unread = (self._shown, drawn_for, unread)
        return pointed(self._unread[2], chart_style)

    def last_step(self) -> float | None:
        return max((float(curve.x[-1]) for curve in self._shown.curves if curve.x.size), default=None)

    def _place_of(self, written: float) -> float:
        return -math.log10(max(written, SMALLEST)) if self.data.falling else written

    def match(self, other: Chart) -> None:
        """Copy the choices made for another chart, except the x range."""
        self.smoothing, self.log_y = other.smoothing, other.log_y
        self._choose(replace(self.view, y=other.view.y, clips=other.view.clips))

    def _choose(self, view: View) -> None:
        restyled = replace(view, x=None) != replace(self.view, x=None)
        super()._choose(view)
        if restyled:
            self.post_message(self.Restyled(self))

    def validate_smoothing(self, smoothing: float) -> float:
        return min(0.999, max(0.0, smoothing))

    def watch_smoothing(self) -> None:
        self.redraw()
        self.post_message(self.Restyled(self))

    def watch_log_y(self) -> None:
        self.view = replace(self.view, y=None)
        self.redraw()
        self.post_message(self.Restyled(self))

    def action_smooth(self) -> None:
        """Switch to the next stronger smoothing, and from the strongest to none."""
        self.smoothing = next((s for s in SMOOTHINGS if s > self.smoothing), 0.0)

    def action_clip(self) -> None:
        """Toggle whether the fitted y range excludes outliers."""
        self._choose(replace(self.view, clips=not self.view.clips))

    def action_log(self) -> None:
        self.log_y = not self.data.log_y


DrawField = Callable[[Any, int, int, Span | None, ChartStyle], TerminalPicture]


class FieldPlot(Plot):
    """A field of colors over steps.

    Arguments:
        draw_field: draws the data, such as `draw_heat`.
    """

    def __init__(self, draw_field: DrawField) -> None:
        super().__init__()
        self._draw_field = draw_field
        self._shown: HeatData | HistogramData | None = None

    def show(self, data: HeatData | HistogramData) -> None:
        """Show other data; view and crosshair are kept."""
        self._shown = data
        self.redraw()
        self.post_first_data()

    def paint(self, width: int, height: int, chart_style: ChartStyle) -> TerminalPicture:
        if self._shown is None:
            return draw(ChartData(""), width, height, chart_style=chart_style)
        return self._draw_field(self._shown, width, height, self.view.x, chart_style)

    def last_step(self) -> float | None:
        return float(self._shown.x[-1]) if self._shown is not None and self._shown.x.size else None
