"""A whole chart as a rectangle of cells: a pure function of data, size, view and style."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bncore.figure import DASHES, ChartData, Curve
from bntui.chart.frame import (
    ChartStyle,
    TerminalPicture,
    draw_border,
    draw_reading,
    draw_x_labels,
    draw_y_labels,
    layout,
    most_y_ticks,
)
from bntui.chart.grid import Grid
from bntui.chart.layers import Layers
from bntui.chart.overlay import Overlay
from bntui.chart.reading import readings, sentence
from bntui.chart.scale import Scale
from bntui.chart.smooth import smoothed_curve
from bntui.chart.ticks import ticks
from bntui.chart.view import View, beyond, x_scale, y_scale

EVERYTHING = View()
PLAIN = ChartStyle()


def draw(
    data: ChartData, width: int, height: int, view: View = EVERYTHING, chart_style: ChartStyle = PLAIN
) -> TerminalPicture:
    """The chart in `width` x `height` cells; below 20 x 5 only the parts that fit."""
    return pointed(draw_unread(data, width, height, view, chart_style), chart_style)


def pointed(picture: TerminalPicture, chart_style: ChartStyle) -> TerminalPicture:
    """A picture of `draw_unread` completed with its bottom line: step labels, or the crosshair's reading."""
    area, x, y = picture.area, picture.x_scale, picture.y_scale
    if x is None or y is None:
        return picture
    grid = picture.grid.copy()
    if chart_style.crosshair is not None:
        Overlay(grid, area, x, y, chart_style.palette).crosshair(chart_style.crosshair)
    at = np.nan if chart_style.crosshair is None else chart_style.crosshair
    read = [one for one in readings(picture.curves, at, falling=x.falling) if one.end is None]
    if area.bordered and not read:
        draw_x_labels(
            grid, area, x, ticks(x, max(2, area.width // 9), whole=picture.whole_x), chart_style.palette
        )
    elif area.bordered:
        read.sort(key=lambda reading: reading.style)
        read = [replace(one, x=x.written(one.x)) for one in read]
        words = sentence(read, x.written(at), grid.width - 5, picture.x_names)
        draw_reading(grid, words, chart_style.palette)
    return replace(picture, grid=grid)


def draw_unread(
    data: ChartData, width: int, height: int, view: View, chart_style: ChartStyle
) -> TerminalPicture:
    """The chart without bottom line and crosshair: the expensive part."""
    grid = Grid(width, height, chart_style.palette.cell_style(chart_style.palette.text))
    area = layout(width, height)
    strong = tuple(smoothed_curve(curve, chart_style.smoothing) for curve in data.curves)
    x = x_scale(data, view)
    y = None if x is None else y_scale(data, strong, x, view)
    cut = view.clips or view.y is not None
    hidden = beyond(strong, x, y) if cut and x is not None and y is not None else None
    if area.bordered:
        draw_border(
            grid, chart_style.palette, data.title, _asides(data, chart_style, hidden), chart_style.focused
        )
    if x is None or y is None:
        unit = Scale(0.0, 1.0)
        Overlay(grid, area, unit, unit, chart_style.palette).note(data.note)
        return TerminalPicture(grid, area, x, None)
    picture = TerminalPicture(grid, area, x, y, strong, data.x_name in ("step", "layer"), data.x_names)
    _draw_plot(picture, data, strong, chart_style, cut=cut)
    return picture


def _draw_plot(
    picture: TerminalPicture,
    data: ChartData,
    strong: tuple[Curve, ...],
    chart_style: ChartStyle,
    *,
    cut: bool,
) -> None:
    grid, area, x, y = picture.grid, picture.area, picture.x_scale, picture.y_scale
    assert x is not None and y is not None
    overlay = Overlay(grid, area, x, y, chart_style.palette)
    labelled = draw_y_labels(grid, area, y, ticks(y, most_y_ticks(area.height)), chart_style.palette)
    overlay.grid_lines(labelled)
    overlay.hlines(data)
    overlay.vlines(data)
    layers = Layers(area.width, area.height, x, y, chart_style.palette, cut=cut)
    if chart_style.smoothing > 0:
        for curve in data.curves:
            if curve.weight != "spread":
                layers.add(curve, faint=True)
    alike = len({curve.style for curve in strong}) > len(chart_style.palette.curves) * len(DASHES)
    quiet = alike and any(curve.bold for curve in strong)
    for curve in sorted(strong, key=lambda curve: not curve.faint):
        layers.add(curve, faint=curve.faint or (quiet and not curve.bold))
    layers.onto(grid, area.top, area.left)
    overlay.hline_texts(data)
    overlay.vline_texts(data, layers)
    overlay.flags(layers)
    overlay.crosses(data.curves)


def _asides(data: ChartData, chart_style: ChartStyle, hidden: int | None) -> list[str]:
    """Notes to the right of the title, such as 12 points beyond, log, smooth 0.6."""
    said = {
        f"{hidden} point{'s' * (hidden != 1)} beyond": hidden is not None,
        data.x_name: data.x_name != "step" and not data.log_x,
        f"log {data.x_name}": data.log_x,
        "log": data.log_y,
        f"smooth {chart_style.smoothing:g}": chart_style.smoothing > 0,
    }
    return [words for words, holds in said.items() if holds]
