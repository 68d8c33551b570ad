"""The style of a plot, and its surroundings: border, title, axis labels, and the crosshair's reading."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bncore.figure import Curve
from bntui.chart.grid import Grid, cells, fitted, fitted_title
from bntui.chart.palette import DARK, Palette
from bntui.chart.raster import rows_of
from bntui.chart.scale import Scale
from bntui.chart.ticks import Tick

GUTTER = 6
"""Width of the y labels in cells; the same in every chart, so that stacked charts line up."""


@dataclass(frozen=True, slots=True)
class PlotArea:
    """Area of the plot within a picture, and whether there is room for border and labels."""

    left: int
    top: int
    width: int
    height: int
    bordered: bool
    gutter: int


def layout(width: int, height: int) -> PlotArea:
    """The plot area at a size: no y labels below 20 x 5, no border below 8 x 4."""
    if width < 8 or height < 4:
        return PlotArea(0, 0, width, height, False, 0)
    gutter = GUTTER if width >= 20 and height >= 5 else 0
    return PlotArea(1 + gutter, 1, width - 2 - gutter, height - 2, True, gutter)


def draw_border(grid: Grid, palette: Palette, title: str, asides: list[str], focused: bool) -> None:
    """Draw a rounded border with the title on the left and as many of the `asides` as fit on the right."""
    line = palette.cell_style(palette.accent if focused else palette.border)
    width, last = grid.width, grid.height - 1
    for row, corners in ((0, "╭╮"), (last, "╰╯")):
        grid.fill(row, slice(None), "─", line)
        grid.fill(row, 0, corners[0], line)
        grid.fill(row, width - 1, corners[1], line)
    for column in (0, width - 1):
        grid.fill(slice(1, last), column, "│", line)
    room = width - 4
    name = fitted_title(title, room - 2)
    if name:
        end = grid.write(0, 2, f" {name} ", palette.cell_style(palette.text, bold=True))
        room = width - end - 2
    while asides and len(cells(aside := " · ".join(asides))) + 3 > room:
        asides = asides[:-1]
    if asides:
        grid.write(0, width - len(cells(aside)) - 4, f" {aside} ", palette.cell_style(palette.muted))


def most_y_ticks(height: int) -> int:
    """Approximate number of labels for a y axis of `height` rows: at most every second row if it is low."""
    return max(2, (height + 1) // 2 if height < 12 else 4 + height // 6)


def draw_y_labels(
    grid: Grid, area: PlotArea, scale: Scale, marks: tuple[Tick, ...], palette: Palette
) -> list[int]:
    """Draw labels right-aligned in the gutter; return the rows of the plot that have one."""
    rows: list[int] = []
    if not area.gutter or not marks:
        return rows
    fractions = scale.fraction(np.array([tick.value for tick in marks]))
    for tick, dot_row in zip(marks, rows_of(fractions, 4 * area.height).tolist(), strict=True):
        row = dot_row // 4
        if row in rows or not 0 <= row < area.height:
            continue
        rows.append(row)
        label = fitted(tick.label, area.gutter)
        column = area.left - len(cells(label)) - (len(cells(label)) < area.gutter)
        grid.write(area.top + row, column, label, palette.cell_style(palette.muted))
    return rows


def draw_x_labels(
    grid: Grid, area: PlotArea, scale: Scale, marks: tuple[Tick, ...], palette: Palette
) -> None:
    """Draw labels centered under their positions in the bottom border, without those that would touch another."""
    free = area.left - 1
    if not marks:
        return
    fractions = scale.fraction(np.array([tick.value for tick in marks]))
    for tick, fraction in zip(marks, fractions.tolist(), strict=True):
        text = f" {tick.label} "
        at = area.left + min(area.width - 1, int(fraction * area.width))
        column = max(at - len(text) // 2, 1)
        if column >= free and column + len(text) < grid.width:
            free = grid.write(grid.height - 1, column, text, palette.cell_style(palette.muted))


def draw_reading(grid: Grid, pieces: list[tuple[str, int | None]], palette: Palette) -> None:
    """Draw the reading in the bottom border, each value in its curve's color."""
    column = grid.write(grid.height - 1, 2, " ", palette.cell_style(palette.text))
    for text, style in pieces:
        color = palette.text if style is None else palette.curve(style)
        room = grid.width - 2 - column
        if room <= 0:
            return
        column = grid.write(grid.height - 1, column, fitted(text, room), palette.cell_style(color))


@dataclass(frozen=True, slots=True)
class ChartStyle:
    """Style of a plot."""

    palette: Palette = DARK
    smoothing: float = 0.0
    """From 0 to below 1; the raw curve stays, faintly, behind the smoothed one."""
    crosshair: float | None = None
    """Step whose values the bottom border shows."""
    focused: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class TerminalPicture:
    """A drawn plot, with its area and its scales."""

    grid: Grid
    area: PlotArea
    x_scale: Scale | None
    """None if there is nothing to draw."""
    y_scale: Scale | None
    curves: tuple[Curve, ...] = ()
    """Curves that the crosshair reads."""
    whole_x: bool = True
    """Whether x values are whole numbers."""
    x_names: tuple[str, ...] = ()
    """As `x_names` of `bncore.figure.ChartData`."""
