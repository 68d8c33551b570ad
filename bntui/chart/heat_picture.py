"""Heat maps over steps as rectangles of cells: layer by step, and histogram by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bncore.figure import Floats, HeatData, HistogramData, Span
from bntui.chart.cell_style import background_of, cell_styles, rgb
from bntui.chart.frame import (
    ChartStyle,
    PlotArea,
    TerminalPicture,
    draw_border,
    draw_reading,
    draw_x_labels,
    draw_y_labels,
    layout,
    most_y_ticks,
)
from bntui.chart.grid import SPACE, Grid, cells, fitted
from bntui.chart.overlay import Overlay
from bntui.chart.palette import HEAT, Palette
from bntui.chart.reading import nearest, whole
from bntui.chart.scale import Scale
from bntui.chart.ticks import exact, extended, short, ticks
from bntui.chart.view import finite_ends

SHADES = " ░▒▓█"
"""Characters from low to high, for terminals whose colors cannot be blended."""
LEVELS = 64


def heat_colors() -> NDArray[np.int64]:
    """(LEVELS,) colors from low to high."""
    anchors = np.array(HEAT, float)
    at = np.linspace(0, len(anchors) - 1, LEVELS)
    parts = [np.interp(at, np.arange(len(anchors)), anchors[:, i]) for i in range(3)]
    return np.array([rgb(*(round(float(p[i])) for p in parts)) for i in range(LEVELS)], np.int64)


COLORS = heat_colors()


def column_means(x: Floats, values: Floats, scale: Scale, columns: int) -> Floats:
    """Mean over the steps in each column; a column without steps takes the preceding one, up to the last step.

    Arguments:
        x: (n,) steps, ascending.
        values: (n, k)
        scale: range of steps shown.
        columns: number of columns.

    Returns:
        (columns, k); NaN before the first and after the last step, and where a column has no finite values.
    """
    index = scale.parted(x, columns)
    result = np.full((columns, values.shape[1]), np.nan)
    filled = np.flatnonzero(index[1:] > index[:-1])
    if filled.size:
        starts, shown = index[filled], values[: index[-1]]
        finite = np.isfinite(shown)
        sums = np.add.reduceat(np.where(finite, shown, 0.0), starts, axis=0)
        counts = np.add.reduceat(finite.astype(float), starts, axis=0)
        with np.errstate(invalid="ignore"):
            result[filled] = sums / counts
    between = (index[1:] == index[:-1]) & (index[:-1] > 0) & (index[:-1] < x.size)
    for column in np.flatnonzero(between).tolist():
        row = values[index[column] - 1]
        result[column] = np.where(np.isfinite(row), row, np.nan)
    return result


def half_cells(levels: Floats, palette: Palette) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Characters and cell styles of a field, with two rows of values per row of cells.

    Arguments:
        levels: (2 h, w) from 0 to 1, the first row at the top; NaN: empty.
        palette: colors.

    Returns:
        Two arrays (h, w).
    """
    finite = ~np.isnan(levels)
    if not palette.translucent:
        with np.errstate(invalid="ignore"):
            both = np.fmax(levels[0::2], levels[1::2])
        shade = np.clip(np.nan_to_num(both) * len(SHADES), 0, len(SHADES) - 1).astype(int)
        characters = np.array([ord(c) for c in SHADES], np.uint32)[shade]
        return characters, np.full(characters.shape, palette.cell_style(palette.text), np.int64)
    index = np.clip(np.nan_to_num(levels) * LEVELS, 0, LEVELS - 1).astype(int)
    colors = np.where(finite, COLORS[index], palette.background)
    styles = cell_styles(colors[0::2], colors[1::2])
    return np.full(styles.shape, ord("▀"), np.uint32), styles


BAR = 8
"""Width of the color bar, in cells."""
NOTHING = 0.01
"""Fraction of the highest bin below which a bin is left empty."""


def draw_heat(
    data: HeatData, width: int, height: int, x: Span | None, chart_style: ChartStyle
) -> TerminalPicture:
    """Layer by step: first row at the bottom, row names on the left, low values dark and high values bright."""
    grid = Grid(width, height, chart_style.palette.cell_style(chart_style.palette.text))
    area = _with_gutter(layout(width, height), max((len(cells(name)) for name in data.rows), default=0))
    scale, span = _steps(data.x, x), data.span or finite_ends(data.values.ravel(), positive=data.log)
    if scale is None or span is None:
        return _empty(grid, area, data.title, data.note, chart_style)
    low, high = span if span[1] > span[0] else (span[0], span[0] + (abs(span[0]) or 1.0))
    means = column_means(data.x, data.values, scale, area.width)
    owners = row_owners(len(data.rows), 2 * area.height)
    levels = np.clip(Scale(low, high, data.log).fraction(means), 0.0, 1.0).T[owners]
    _paint(grid, area, levels, chart_style)
    _name_rows(grid, area, data.rows, owners, chart_style)
    aside = f"{'log ' if data.log else ''}{short(span[0])} {' ' * BAR} {short(span[1])}"
    picture = TerminalPicture(grid, area, scale, None)
    _surround(
        picture, chart_style, data.title, aside, _row_words(data, chart_style.crosshair), y_name="layer"
    )
    _paint_bar(grid, short(span[1]), chart_style)
    return picture


def draw_histogram(
    data: HistogramData, width: int, height: int, x: Span | None, chart_style: ChartStyle
) -> TerminalPicture:
    """Histogram by step: each column of cells is a histogram, normalized by its own highest bin."""
    grid = Grid(width, height, chart_style.palette.cell_style(chart_style.palette.text))
    area, scale = layout(width, height), _steps(data.x, x)
    if scale is None or not np.isfinite(data.density).any():
        return _empty(grid, area, data.title, data.note, chart_style)
    y = Scale(*(data.span or (float(data.edges[0]), float(data.edges[-1]))))
    means = column_means(data.x, data.density, scale, area.width)
    tallest = np.fmax.reduce(means, axis=1, initial=0.0)[:, None]
    levels = np.divide(means, tallest, out=np.full_like(means, np.nan), where=tallest > 0)
    levels[levels < NOTHING] = np.nan
    middles = y.value(1.0 - (np.arange(2 * area.height) + 0.5) / (2 * area.height))
    bins = np.searchsorted(data.edges, middles, side="right") - 1
    outside = (bins < 0) | (bins >= data.density.shape[1])
    rows = levels.T[np.where(outside, 0, bins)]
    rows[outside] = np.nan
    _paint(grid, area, rows, chart_style)
    draw_y_labels(grid, area, y, ticks(y, most_y_ticks(area.height)), chart_style.palette)
    picture = TerminalPicture(grid, area, scale, y)
    return _surround(
        picture, chart_style, data.title, "", _bin_words(data, chart_style.crosshair), y_name="output"
    )


def row_owners(rows: int, height: int) -> NDArray[np.intp]:
    """(height,) Index of the row that each half cell shows, from top to bottom; the first row is at the bottom.

    Rows share no cell if there are enough cells.
    """
    if rows <= height // 2:
        return np.repeat(np.arange(height // 2)[::-1] * rows // (height // 2), 2)
    return np.arange(height)[::-1] * rows // height


def _with_gutter(area: PlotArea, longest: int) -> PlotArea:
    """The plot area with a gutter for the row names, at most a third of the width."""
    if not area.gutter:
        return area
    gutter = min(longest + 2, (area.width + area.gutter) // 3)
    shift = gutter - area.gutter
    return replace(area, left=area.left + shift, width=area.width - shift, gutter=gutter)


def _steps(steps: Floats, chosen: Span | None) -> Scale | None:
    if chosen is not None:
        return Scale(*chosen)
    return Scale(*extended(float(steps[0]), float(steps[-1]))) if steps.size else None


def _empty(grid: Grid, area: PlotArea, title: str, note: str, chart_style: ChartStyle) -> TerminalPicture:
    if area.bordered:
        draw_border(grid, chart_style.palette, title, [], chart_style.focused)
    Overlay(grid, area, Scale(0.0, 1.0), Scale(0.0, 1.0), chart_style.palette).note(note)
    return TerminalPicture(grid, area, None, None)


def _paint(grid: Grid, area: PlotArea, levels: Floats, chart_style: ChartStyle) -> None:
    inside = np.s_[area.top : area.top + area.height, area.left : area.left + area.width]
    grid.characters[inside], grid.styles[inside] = half_cells(levels, chart_style.palette)


def _name_rows(
    grid: Grid, area: PlotArea, rows: tuple[str, ...], owners: NDArray[np.intp], chart_style: ChartStyle
) -> None:
    """Write each name at the center of its row, if no other name has that cell."""
    if not area.gutter:
        return
    named: set[int] = set()
    for i, name in enumerate(rows):
        mine = np.flatnonzero(owners == i)
        row = int(mine.mean()) // 2 if mine.size else -1
        if row < 0 or row in named:
            continue
        named.add(row)
        text = fitted(name, area.gutter - 1)
        column = area.left - 1 - len(cells(text))
        grid.write(area.top + row, column, text, chart_style.palette.cell_style(chart_style.palette.muted))


def _surround(
    picture: TerminalPicture,
    chart_style: ChartStyle,
    title: str,
    aside: str,
    words: list[str],
    *,
    y_name: str,
) -> TerminalPicture:
    """Add the crosshair and border, and at the bottom the step labels and axis names, or the reading."""
    grid, area, scale = picture.grid, picture.area, picture.x_scale
    assert scale is not None
    overlay = Overlay(grid, area, scale, Scale(0.0, 1.0), chart_style.palette)
    column = None if chart_style.crosshair is None else overlay.column(chart_style.crosshair)
    if column is not None:  # a vertical line on the colors of the cells' lower halves
        cut = np.s_[area.top : area.top + area.height, area.left + column]
        grid.characters[cut] = ord("│")
        grid.styles[cut] = cell_styles(chart_style.palette.text, background_of(grid.styles[cut]))
    if not area.bordered:
        return picture
    draw_border(grid, chart_style.palette, title, [aside] if aside.strip() else [], chart_style.focused)
    if words:
        pieces = whole([(f"{word} ", None) for word in words], grid.width - 5)
        draw_reading(grid, pieces, chart_style.palette)
    else:
        names = f" {y_name} ↑ step → " if area.width >= 48 else ""
        before = grid.width - 2 - len(names)
        marks = [
            tick
            for tick in ticks(scale, max(2, area.width // 9), whole=True)
            if not names or (overlay.column(tick.value) or 0) + area.left + len(tick.label) < before
        ]
        draw_x_labels(grid, area, scale, tuple(marks), chart_style.palette)
        grid.write(grid.height - 1, before, names, chart_style.palette.cell_style(chart_style.palette.muted))
    return picture


def _paint_bar(grid: Grid, high: str, chart_style: ChartStyle) -> None:
    """Draw the color bar into the spaces left for it in the border, before the highest value."""
    end = grid.width - 4 - len(high)
    bar = np.s_[:1, max(0, end - BAR) : end]
    if grid.characters[bar].shape == (1, BAR) and (grid.characters[bar] == SPACE).all():
        grid.characters[bar], grid.styles[bar] = half_cells(
            np.tile(np.linspace(0, 1, BAR), (2, 1)), chart_style.palette
        )


def _row_words(data: HeatData, x: float | None) -> list[str]:
    if x is None:
        return []
    i = nearest(data.x, x)
    values = (f"{name} {exact(v)} " for name, v in zip(data.rows, data.values[i].tolist(), strict=True))
    return [f"at {exact(float(data.x[i]))}:", *values]


def _bin_words(data: HistogramData, x: float | None) -> list[str]:
    """Mean and standard deviation of the histogram nearest to x."""
    if x is None:
        return []
    i = nearest(data.x, x)
    middles = (data.edges[1:] + data.edges[:-1]) / 2
    mass = np.nan_to_num(data.density[i]) * np.diff(data.edges)
    if mass.sum() <= 0:
        return [f"at {exact(float(data.x[i]))}:", "nothing"]
    mean = float((mass * middles).sum() / mass.sum())
    spread = float(np.sqrt((mass * (middles - mean) ** 2).sum() / mass.sum()))
    return [f"at {exact(float(data.x[i]))}:", f"mean {exact(mean)}", f"deviation {exact(spread)}"]
