"""The common part of all plot widgets: a drawn grid, of which only the changed cells are sent again."""

from __future__ import annotations

from textual.color import Color
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from bntui.chart.grid import Grid
from bntui.chart.palette import ANSI, Palette, true_colours

MIXING = frozenset({"256", "truecolor"})
"""Colour systems of rich in which colours can be mixed."""


class Canvas(Widget, can_focus=True):
    """Shows the grid that `paint` draws; `redraw` is called when what it draws from has changed."""

    DEFAULT_CSS = """
    Canvas { width: 1fr; height: 1fr; }
    """

    _grid: Grid | None = None

    def paint(self, width: int, height: int) -> Grid:
        """The picture at this size."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draws anew and has the terminal told about the cells that differ."""
        width, height = self.size
        if not self.is_attached or not width or not height:
            self._grid = None
            return
        before, self._grid = self._grid, self.paint(width, height)
        changed = [Region(column, row, length, 1) for row, column, length in self._grid.changes(before)]
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        if self._grid is None or (self._grid.width, self._grid.height) != (width, height):
            self._grid = self.paint(width, height) if width and height else None
        if self._grid is None or y >= self._grid.height:
            return Strip.blank(width, self.rich_style)
        return self._grid.strip(y)

    @property
    def palette(self) -> Palette:
        """By the theme, and by what the terminal can show."""
        if self.app.native_ansi_color or self.app.console.color_system not in MIXING:
            return ANSI
        theme = self.app.theme_variables
        _, background = self.background_colors
        return true_colours(
            background.rgb,
            (
                background + Color.parse("white" if background.brightness < 0.5 else "black").with_alpha(0.87)
            ).rgb,
            Color.parse(theme["primary"]).rgb,
        )

    def on_mount(self) -> None:
        self.watch(self.app, "theme", self._forget, init=False)

    def on_resize(self) -> None:
        self.redraw()

    def on_focus(self) -> None:
        self.redraw()

    def on_blur(self) -> None:
        self.redraw()

    def _forget(self) -> None:
        """After a change of theme every cell has another colour."""
        self._grid = None
        self.refresh()
