"""A field of values as coloured half cells, two rows of values in each row of the terminal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bncore.figure import Floats
from bntui.chart.cell_style import cell_style, cell_styles, rgb
from bntui.chart.palette import HEAT, Palette
from bntui.chart.scale import Scale

SHADES = " ░▒▓█"
"""From little to much, where colours cannot be mixed."""
LEVELS = 64


def heat_colors() -> NDArray[np.int64]:
    """(LEVELS,) colours from little to much."""
    anchors = np.array(HEAT, float)
    at = np.linspace(0, len(anchors) - 1, LEVELS)
    parts = [np.interp(at, np.arange(len(anchors)), anchors[:, i]) for i in range(3)]
    return np.array([rgb(*(round(float(p[i])) for p in parts)) for i in range(LEVELS)], np.int64)


COLORS = heat_colors()


def column_means(x: Floats, values: Floats, scale: Scale, columns: int) -> Floats:
    """Mean over the steps of each column; a column without any takes the step before it, up to the last one.

    Arguments:
        x: (n,) steps, ascending.
        values: (n, k)
        scale: the steps shown.
        columns: how many.

    Returns:
        (columns, k), NaN before the first and after the last step, and where all of a column is not finite.
    """
    bounds = scale.bounds(columns)
    index = np.searchsorted(x, bounds)
    index[-1] = np.searchsorted(x, scale.high, side="right")
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
    """Characters and inks of a field.

    Arguments:
        levels: (2 h, w) from 0 to 1, the first row at the top; NaN: nothing.
        palette: its colours.

    Returns:
        two arrays (h, w).
    """
    known = ~np.isnan(levels)
    if not palette.translucent:
        with np.errstate(invalid="ignore"):
            both = np.fmax(levels[0::2], levels[1::2])
        shade = np.clip(np.nan_to_num(both) * len(SHADES), 0, len(SHADES) - 1).astype(int)
        characters = np.array([ord(c) for c in SHADES], np.uint32)[shade]
        return characters, np.full(characters.shape, cell_style(palette.text, palette.background), np.int64)
    index = np.clip(np.nan_to_num(levels) * LEVELS, 0, LEVELS - 1).astype(int)
    colors = np.where(known, COLORS[index], palette.background)
    styles = cell_styles(colors[0::2], colors[1::2])
    return np.full(styles.shape, ord("▀"), np.uint32), styles
