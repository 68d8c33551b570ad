"""Elements drawn behind and on top of the curves: lines, grid, crosshair, crosses, flags, notes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bncore.figure import ChartData, Curve
from bntui.chart.cell_style import blend, with_background
from bntui.chart.frame import PlotArea
from bntui.chart.grid import SPACE, Grid, cells, fitted
from bntui.chart.layers import Layers, last_point
from bntui.chart.palette import Palette
from bntui.chart.raster import rows_of
from bntui.chart.scale import Scale, warped


class Overlay:
    """Draws into the plot's area of a grid.

    Arguments:
        grid: the whole picture.
        area: area of the plot.
        x_scale: range of steps shown.
        y_scale: range of values shown.
        palette: colors.
    """

    def __init__(self, grid: Grid, area: PlotArea, x_scale: Scale, y_scale: Scale, palette: Palette) -> None:
        self._grid, self._area, self._palette = grid, area, palette
        self._x_scale, self._y_scale = x_scale, y_scale

    def grid_lines(self, rows: list[int]) -> None:
        """Draw a faint line at each labeled row, if the terminal's colors allow."""
        if self._palette.translucent:
            for row in rows:
                self._across(row, "╌", self._palette.grid)

    def hlines(self, data: ChartData) -> None:
        """Draw dashed reference lines; call before drawing the curves."""
        for line in data.hlines:
            row = self._row(float(warped(np.array([line.y]), self._y_scale.log)[0]))
            if row is not None:
                self._across(row, "┄", self._palette.muted)

    def hline_texts(self, data: ChartData) -> None:
        """Write the text of each horizontal line at its right end, over the curves."""
        for line in data.hlines:
            row = self._row(float(warped(np.array([line.y]), self._y_scale.log)[0]))
            text = f" {line.text} "
            if row is not None and line.text and len(cells(text)) < self._area.width:
                self._write(row, self._area.width - len(cells(text)), text, self._palette.text)

    def vlines(self, data: ChartData) -> None:
        """Draw vertical lines; call before drawing the curves."""
        for line in data.vlines:
            column = self.column(line.x)
            if column is not None:
                color = self._palette.muted if line.style is None else self._palette.curve(line.style)
                rows = slice(self._area.top, self._area.top + self._area.height)
                self._grid.fill(rows, self._area.left + column, "┊", self._palette.cell_style(color))

    def vline_texts(self, data: ChartData, layers: Layers) -> None:
        """Write the text of each vertical line beside it, in the upper half, where it hides the fewest dots and no
        other text."""
        drawn = layers.bits > 0
        columns = [self.column(line.x) for line in data.vlines]
        drawn[:, [column for column in columns if column is not None]] = True
        named = np.zeros_like(drawn)
        for line, column in zip(data.vlines, columns, strict=True):
            if column is None or not line.text:
                continue
            text = fitted(line.text, max(column, self._area.width - column - 1))
            width = len(cells(text))
            start_cell = self._free(drawn, named, column, width)
            if start_cell is None:
                continue
            row, start = start_cell
            named[row, start : start + width] = True
            color = self._palette.text if line.style is None else self._palette.curve(line.style)
            self._write(row, start, text, color)

    def _free(
        self, drawn: NDArray[np.bool_], named: NDArray[np.bool_], column: int, width: int
    ) -> tuple[int, int] | None:
        """Row and column at which a text hides the least, preferably at the top and on the right; None if it would
        cover another text everywhere."""
        starts = [s for s in (column + 1, column - width) if s >= 0 and s + width <= self._area.width]
        candidates = [
            (int(drawn[row, start : start + width].sum()), row, side, start)
            for row in range(max(1, self._area.height // 2))
            for side, start in enumerate(starts or [max(0, self._area.width - width)])
            if not named[row, start : start + width].any()
        ]
        if not candidates:
            return None
        _, row, _, start = min(candidates)
        return row, start

    def crosses(self, curves: tuple[Curve, ...]) -> None:
        """Mark the end of a diverged curve with ✕."""
        for curve in curves:
            last = last_point(curve, self._y_scale.log) if curve.diverged else None
            column = None if last is None else self.column(last[0])
            if last is None or column is None:
                continue
            row = 0 if last[1] == math.inf else self._row(last[1])
            if row is not None:
                self._write(row, column, "✕", self._palette.curve(curve.style), bold=True)

    def flags(self, layers: Layers) -> None:
        """Mark columns in which a curve extends beyond the axis with △ or ▽, and to infinity with ▲ or ▼."""
        last = self._area.height - 1
        for row, sign, columns in (
            (0, "△", layers.above), (last, "▽", layers.below), (0, "▲", layers.over), (last, "▼", layers.under),
        ):  # fmt: skip
            for column, style in columns.items():
                self._write(row, column, sign, self._palette.curve(style))

    def crosshair(self, x: float) -> None:
        """Draw a vertical line over the whole height, behind the dots."""
        column = self.column(x)
        if column is None:
            return
        window = np.s_[self._area.top : self._area.top + self._area.height, self._area.left + column]
        free = self._grid.characters[window] == SPACE
        free |= np.isin(self._grid.characters[window], [ord(c) for c in "┊╌┄"])
        self._grid.characters[window][free] = ord("│")
        self._grid.styles[window][free] = self._palette.cell_style(self._palette.accent)
        if self._palette.translucent:
            glow = blend(self._palette.accent, self._palette.background, 0.35)
            column_styles = self._grid.styles[window]
            column_styles[~free] = with_background(column_styles[~free], glow)

    def note(self, text: str) -> None:
        """Write a text at the center of an empty plot, wrapped."""
        inside = self._grid.width - 2 * self._area.bordered
        lines = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            if len(cells(longer)) <= max(1, inside - 2) or not lines[-1]:
                lines[-1] = longer
            else:
                lines.append(word)
        lines = lines[: self._area.height]
        first = self._area.top + (self._area.height - len(lines)) // 2
        muted = self._palette.cell_style(self._palette.muted)
        for i, line in enumerate(lines):
            shown = fitted(line, inside)
            self._grid.write(first + i, (self._grid.width - len(cells(shown))) // 2, shown, muted)

    def column(self, x: float) -> int | None:
        """Column of cells that contains step x; None if it is not visible."""
        fraction = float(self._x_scale.fraction(np.array([x]))[0])
        if not -1e-9 <= fraction <= 1 + 1e-9:
            return None
        return min(self._area.width - 1, max(0, int(fraction * self._area.width)))

    def _row(self, warped_y: float) -> int | None:
        fraction = self._y_scale.fraction_of_warped(np.array([warped_y]))
        row = int(rows_of(fraction, 4 * self._area.height)[0])
        return row // 4 if 0 <= row < 4 * self._area.height else None

    def _across(self, row: int, character: str, color: int) -> None:
        columns = slice(self._area.left, self._area.left + self._area.width)
        self._grid.fill(self._area.top + row, columns, character, self._palette.cell_style(color))

    def _write(self, row: int, column: int, text: str, color: int, bold: bool = False) -> None:
        cell = self._palette.cell_style(color, bold=bold)
        self._grid.write(self._area.top + row, self._area.left + column, text, cell)
