"""The chart as a widget: keys and mouse choose what part is shown, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from textual import events
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive

from bntui.chart.canvas import Canvas
from bntui.chart.data import ChartData
from bntui.chart.grid import Grid
from bntui.chart.picture import Look, Picture, draw
from bntui.chart.reading import Reading, readings
from bntui.chart.scale import Scale
from bntui.chart.view import Range, View

SMOOTHINGS = (0.0, 0.6, 0.9, 0.97, 0.99)
"""What the smoothing key goes through."""
ZOOM = 0.7
"""How much of what is shown one step of zooming in keeps."""
PAN = 0.1


class Chart(Canvas):
    """Curves, bands, marks and rules over the steps."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(1)", "zoom in", key_display="+"),
        Binding("minus", "zoom(-1)", "zoom out", key_display="-"),
        Binding("left", "pan(-1, 0)", "earlier", show=False),
        Binding("right", "pan(1, 0)", "later", show=False),
        Binding("up", "pan(0, 1)", "higher", show=False),
        Binding("down", "pan(0, -1)", "lower", show=False),
        Binding("0", "fit", "fit"),
        Binding("s", "smooth", "smooth"),
        Binding("y", "log", "log axis"),
        Binding("c", "crosshair", "crosshair"),
        Binding("shift+left,less_than_sign", "read(-1)", "crosshair left", show=False, key_display="<"),
        Binding("shift+right,greater_than_sign", "read(1)", "crosshair right", show=False, key_display=">"),
    ]

    smoothing: reactive[float] = reactive(0.0, repaint=False)
    """From 0 to below 1."""
    log_y: reactive[bool | None] = reactive[bool | None](None, repaint=False)
    """Whether the y axis is logarithmic; None: as the data asks for."""
    crosshair: reactive[float | None] = reactive[float | None](None, repaint=False)
    """The step that is read off; None: none."""

    @dataclass
    class CrosshairMoved(Message):
        """The reader pointed at another step, or (None) at none."""

        chart: Chart
        x: float | None

        @property
        def control(self) -> Chart:
            return self.chart

    @dataclass
    class ViewChanged(Message):
        """The reader chose other steps to be shown; None: whatever fits."""

        chart: Chart
        x0: float | None
        x1: float | None

        @property
        def control(self) -> Chart:
            return self.chart

    def __init__(
        self,
        data: ChartData | None = None,
        *,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._data = data or ChartData("")
        self._view = View()
        self._picture: Picture | None = None
        self._dragged: tuple[int, int] | None = None

    @property
    def data(self) -> ChartData:
        """What is shown, with the reader's choice of axis."""
        log_y = self._data.log_y if self.log_y is None else self.log_y
        return replace(self._data, log_y=log_y)

    @property
    def view(self) -> View:
        """What the reader chose to see."""
        return self._view

    def show(self, data: ChartData) -> None:
        """Shows other data; view, smoothing and crosshair stay."""
        self._data = data
        self.redraw()

    def set_view(self, x0: float | None, x1: float | None) -> None:
        """Shows the steps from `x0` to `x1`, or whatever fits; posts no message."""
        x = None if x0 is None or x1 is None or x1 <= x0 else (x0, x1)
        if x != self._view.x:
            self._view = replace(self._view, x=x)
            self.redraw()

    def readings(self) -> list[Reading]:
        """What every curve says at the crosshair."""
        return [] if self.crosshair is None else readings(self.data.curves, self.crosshair)

    def paint(self, width: int, height: int) -> Grid:
        look = Look(self.palette, self.smoothing, self.crosshair, self.has_focus)
        self._picture = draw(self.data, width, height, self._view, look)
        return self._picture.grid

    def validate_smoothing(self, smoothing: float) -> float:
        return min(0.999, max(0.0, smoothing))

    def watch_smoothing(self) -> None:
        self.redraw()

    def watch_log_y(self) -> None:
        self._view = replace(self._view, y=None)
        self.redraw()

    def watch_crosshair(self) -> None:
        self.redraw()

    def action_zoom(self, direction: int) -> None:
        self._zoom(ZOOM**direction, self._crosshair_fraction())

    def action_pan(self, right: int, up: int) -> None:
        """Moves by a tenth of what is shown; without a chosen view the key is left to the screen."""
        if (right and self._view.x is None) or (up and self._view.y is None and self._view.x is None):
            raise SkipAction
        self._pan(right * PAN, up * PAN)

    def action_fit(self) -> None:
        self._choose(View())

    def action_smooth(self) -> None:
        later = [s for s in SMOOTHINGS if s > self.smoothing]
        self.smoothing = later[0] if later else 0.0

    def action_log(self) -> None:
        self.log_y = not self.data.log_y

    def action_crosshair(self) -> None:
        """Shows it at the last step in view, or takes it away."""
        if self.crosshair is not None:
            self._point_at(None)
            return
        scale = self._x_scale()
        ends = [float(curve.x[-1]) for curve in self.data.curves if curve.x.size]
        if scale is not None and ends:
            self._point_at(min(scale.high, max(ends)))

    def action_read(self, direction: int) -> None:
        """Moves the crosshair by one column of cells."""
        scale = self._x_scale()
        if scale is None or self._picture is None:
            return
        if self.crosshair is None:
            self.action_crosshair()
            return
        fraction = self._crosshair_fraction() + direction / self._picture.place.width
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
        """Drags what is shown, or reads off what is pointed at."""
        if self._picture is None or self._picture.x_scale is None:
            return
        place = self._picture.place
        if self._dragged is None:
            self._point_at(self._step_at(event.x))
            return
        right, down = event.x - self._dragged[0], event.y - self._dragged[1]
        self._dragged = (event.x, event.y)
        if right or down:
            self._pan(-right / place.width, down / place.height if self._view.y is not None else 0.0)

    def on_leave(self) -> None:
        if self.crosshair is not None and self._dragged is None:
            self._point_at(None)

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        event.stop()
        event.prevent_default()
        step = self._step_at(event.x)
        scale = self._x_scale()
        around = 0.5 if step is None or scale is None else float(scale.fraction(np.array([step]))[0])
        self._zoom(factor, around)

    def _zoom(self, factor: float, around: float) -> None:
        scale = self._x_scale()
        if scale is not None:
            zoomed = scale.zoomed(factor, around)
            self._choose(replace(self._view, x=(zoomed.low, zoomed.high)))

    def _pan(self, right: float, up: float) -> None:
        if self._picture is None or self._picture.x_scale is None or self._picture.y_scale is None:
            return
        x, y = self._view.x, self._view.y
        if right:
            x = _ends(self._picture.x_scale.moved(right))
        if up:
            y = _ends(self._picture.y_scale.moved(up))
        self._choose(View(x, y))

    def _choose(self, view: View) -> None:
        if view == self._view:
            return
        moved = view.x != self._view.x
        self._view = view
        self.redraw()
        if moved:
            x0, x1 = view.x or (None, None)
            self.post_message(self.ViewChanged(self, x0, x1))

    def _point_at(self, x: float | None) -> None:
        if x != self.crosshair:
            self.crosshair = x
            self.post_message(self.CrosshairMoved(self, x))

    def _step_at(self, column: int) -> float | None:
        """The step in the middle of a column of the widget; None beside the plot."""
        scale = self._x_scale()
        if scale is None or self._picture is None:
            return None
        place = self._picture.place
        if not place.left <= column < place.left + place.width:
            return None
        return float(scale.value(np.array([(column - place.left + 0.5) / place.width]))[0])

    def _x_scale(self) -> Scale | None:
        return None if self._picture is None else self._picture.x_scale

    def _crosshair_fraction(self) -> float:
        """Where zooming keeps its place: at the crosshair, else in the middle."""
        scale = self._x_scale()
        if scale is None or self.crosshair is None:
            return 0.5
        fraction = float(scale.fraction(np.array([self.crosshair]))[0])
        return fraction if 0 <= fraction <= 1 else 0.5


def _ends(scale: Scale) -> Range:
    return scale.low, scale.high
