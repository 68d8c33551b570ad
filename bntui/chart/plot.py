"""Base class of all widgets that plot over steps: view, crosshair, and redrawing of changed cells only."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from textual import events
from textual.actions import SkipAction
from textual.app import App
from textual.binding import BindingType
from textual.color import Color
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from bncore.figure import Span
from bntui.actions import CHARTS, bindings
from bntui.chart.frame import ChartStyle, TerminalPicture
from bntui.chart.palette import ANSI, MONOCHROME, Palette, true_colors
from bntui.chart.scale import Scale
from bntui.chart.view import View

ZOOM = 0.7
"""Fraction of the visible range that one press of the zoom key keeps."""
PAN = 0.1


def plain_palette(app: App[object]) -> Palette | None:
    """Palette for a terminal whose colors cannot be blended; None for others."""
    if app.no_color:
        return MONOCHROME
    few = app.native_ansi_color or app.console.color_system in ("standard", "windows")
    return ANSI if few else None


class Plot(Widget, can_focus=True):
    """Shows the picture that `paint` draws; keys and mouse control the x range and the crosshair."""

    DEFAULT_CSS = """
    Plot { width: 1fr; height: 1fr; }
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(CHARTS)

    crosshair: reactive[float | None] = reactive[float | None](None, repaint=False)
    """Step of the crosshair; None if it is off."""

    @dataclass
    class CrosshairMoved(Message):
        """The crosshair moved to another step, or was switched off (None)."""

        plot: Plot
        x: float | None

    @dataclass
    class ViewChanged(Message):
        """The user chose another x range; None: fit to the data."""

        plot: Plot
        x: Span | None

    @dataclass
    class FirstData(Message):
        """The plot has data for the first time, or for the first time since its x axis changed."""

        plot: Plot

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view = View()
        """Ranges chosen by the user."""
        self._picture: TerminalPicture | None = None
        self._dragged: tuple[int, int] | None = None
        self._has_data = False

    @abstractmethod
    def paint(self, width: int, height: int, chart_style: ChartStyle) -> TerminalPicture:
        """Draw the picture at this size."""

    @abstractmethod
    def last_step(self) -> float | None:
        """The last step with data."""

    @property
    def x_name(self) -> str:
        """Name of the x axis."""
        return "step"

    def post_first_data(self) -> None:
        """Post `FirstData`, once, when there is data."""
        if not self._has_data and self.last_step() is not None:
            self._has_data = True
            self.post_message(self.FirstData(self))

    def set_view(self, x: Span | None) -> None:
        """Show these steps, or fit to the data; posts no message."""
        if x != self.view.x:
            self.view = replace(self.view, x=x)
            self.redraw()

    def set_y(self, y: Span | None) -> None:
        """Show this range of values, or fit to the data."""
        self._choose(replace(self.view, y=y))

    def chart_style(self) -> ChartStyle:
        return ChartStyle(self.palette, crosshair=self.crosshair, focused=self.has_focus)

    @property
    def palette(self) -> Palette:
        """Palette for the theme and the terminal's capabilities."""
        if plain := plain_palette(self.app):
            return plain
        _, background = self.background_colors
        text = background.get_contrast_text(0.87)
        accent = Color.parse(self.app.theme_variables["primary"])
        few = self.app.console.color_system == "256"
        return true_colors(background.rgb, (background + text).rgb, accent.rgb, few=few)

    def redraw(self) -> None:
        """Draw the picture and refresh only the cells that differ."""
        width, height = self.size
        if not self.is_attached or not width or not height:
            self._picture = None
            return
        before, self._picture = self._picture, self.paint(width, height, self.chart_style())
        changes = self._picture.grid.changes(None if before is None else before.grid)
        regions = [Region(column, row, length, 1) for row, column, length in changes]
        if regions:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        grid = None if self._picture is None else self._picture.grid
        if grid is None or (grid.width, grid.height) != (width, height):
            self._picture = self.paint(width, height, self.chart_style())
            grid = self._picture.grid
        return grid.strip(y)

    def on_mount(self) -> None:
        self.watch(self.app, "theme", self._recolor, init=False)

    on_resize = on_focus = on_blur = watch_crosshair = redraw

    def action_zoom(self, direction: int) -> None:
        self._zoom(ZOOM**direction, self._fraction(self.crosshair))

    def action_pan(self, right: int, up: int) -> None:
        """Pan by a tenth of the visible range; while everything is visible, leave the key to the screen."""
        if self.view.is_whole:
            raise SkipAction
        self._pan(right * PAN, up * PAN)

    def action_fit(self) -> None:
        self._choose(View(clips=self.view.clips))

    def action_crosshair(self) -> None:
        """Show the crosshair at the last step in view, or hide it."""
        scale, last = self._x_scale(), self.last_step()
        if self.crosshair is not None:
            self._point_at(None)
        elif scale is not None and last is not None:
            self._point_at(max(scale.low, min(scale.high, last)))

    def go_to(self, written: float | Span) -> None:
        """Move the crosshair to a position, or show the range between two, given in the axis's labels; a range
        without width, such as two negative losses, fits the data."""
        if isinstance(written, tuple):
            first, last = sorted(map(self._place_of, written))
            self._choose(replace(self.view, x=(first, last) if first < last else None))
        else:
            self._point_at(self._place_of(written))

    def _place_of(self, written: float) -> float:
        return written

    def action_read(self, direction: int) -> None:
        """Move the crosshair by one column of cells."""
        scale = self._x_scale()
        if self.crosshair is None or scale is None or self._picture is None:
            self.action_crosshair()
            return
        fraction = self._fraction(self.crosshair) + direction / self._picture.area.width
        self._point_at(float(scale.value(np.array([min(1.0, max(0.0, fraction))]))[0]))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, ZOOM)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, 1 / ZOOM)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._dragged = (event.x, event.y)
        self.capture_mouse()

    def on_mouse_up(self) -> None:
        self._dragged = None
        self.release_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Pan while dragging, else move the crosshair to the pointer."""
        if self._picture is None:
            return
        if self._dragged is None:
            self._point_at(self._step_at(event.x))
            return
        right, down = event.x - self._dragged[0], event.y - self._dragged[1]
        self._dragged = (event.x, event.y)
        area = self._picture.area
        self._pan(-right / area.width, down / area.height if self.view.y is not None else 0.0)

    def on_leave(self) -> None:
        if self._dragged is None:
            self._point_at(None)

    def _recolor(self) -> None:
        """Redraw every cell after a change of theme."""
        self._picture = None
        self.refresh()

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        event.stop()
        event.prevent_default()
        self._zoom(factor, self._fraction(self._step_at(event.x)))

    def _zoom(self, factor: float, around: float) -> None:
        scale = self._x_scale()
        if scale is not None:
            self._choose(replace(self.view, x=scale.zoomed(factor, around).span))

    def _pan(self, right: float, up: float) -> None:
        if self._picture is None:
            return
        view, x, y = self.view, self._picture.x_scale, self._picture.y_scale
        if right and x is not None:
            view = replace(view, x=x.moved(right).span)
        if up and y is not None:
            view = replace(view, y=y.moved(up).span)
        self._choose(view)

    def _choose(self, view: View) -> None:
        if view == self.view:
            return
        moved = view.x != self.view.x
        self.view = view
        self.redraw()
        if moved:
            self.post_message(self.ViewChanged(self, view.x))

    def _point_at(self, x: float | None) -> None:
        if x != self.crosshair:
            self.crosshair = x
            self.post_message(self.CrosshairMoved(self, x))

    def _step_at(self, column: int) -> float | None:
        """The step at the center of a column of the widget; None outside the plot."""
        scale = self._x_scale()
        if scale is None or self._picture is None:
            return None
        area = self._picture.area
        if not area.left <= column < area.left + area.width:
            return None
        return float(scale.value(np.array([(column - area.left + 0.5) / area.width]))[0])

    def _x_scale(self) -> Scale | None:
        return None if self._picture is None else self._picture.x_scale

    def _fraction(self, x: float | None) -> float:
        """Position of a step within the visible range, from 0 to 1; the middle if it is not visible."""
        scale = self._x_scale()
        if scale is None or x is None:
            return 0.5
        fraction = float(scale.fraction(np.array([x]))[0])
        return fraction if 0 <= fraction <= 1 else 0.5
