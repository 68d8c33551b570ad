"""Curves overlaid in one field of cells: their dots are combined, and the last curve's color wins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bncore.figure import Curve, Floats
from bntui.chart.cell_style import with_background
from bntui.chart.grid import Grid
from bntui.chart.palette import Palette, dashes
from bntui.chart.raster import (
    BLANK,
    Bits,
    Dots,
    band_dots,
    braille_bits,
    covered,
    dashed,
    line_dots,
    rows_of,
)
from bntui.chart.scale import FAR, Scale, warped


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """Lowest and highest position of a curve in each of w columns, in warped coordinates; NaN in empty columns."""

    low: Floats
    """(w,)"""
    high: Floats
    """(w,)"""
    over: NDArray[np.bool_]
    """(w,) whether the column contains a point at +inf."""
    under: NDArray[np.bool_]
    """(w,) whether the column contains a point at -inf, or on a logarithmic axis one that is not positive."""


def envelope(curve: Curve, x_scale: Scale, columns: int, log_y: bool) -> Envelope:
    """Range of the curve's polyline in each of `columns` equal parts of the x axis.

    The polyline is cut at the column bounds, so the ranges of neighboring columns share a value and their dots
    touch. A NaN breaks the polyline. O(columns log n), plus two passes over the points shown.
    """
    index = x_scale.parted(curve.x, columns)
    low = _reduced(curve.low, index, np.fmin)
    high = _reduced(curve.high, index, np.fmax)
    low, high = warped(low, log_y), warped(high, log_y)
    over, under = high == np.inf, low == -np.inf
    low, high = np.clip(low, -2 * FAR, 2 * FAR), np.clip(high, -2 * FAR, 2 * FAR)
    crossed = (index[1:] > 0) & (index[:-1] < curve.x.size)  # columns from the first point to the last
    if curve.weight == "spread" and not (crossed & (index[1:] == index[:-1])).any():
        return Envelope(low, high, over, under)  # tinted cells show no gaps between columns
    cuts = _cuts(curve.x, curve.edges, index, x_scale, log_y)
    low_cuts, high_cuts = cuts[0], cuts[-1]
    low = np.fmin(low, np.fmin(low_cuts[:-1], low_cuts[1:]))
    high = np.fmax(high, np.fmax(high_cuts[:-1], high_cuts[1:]))
    return Envelope(low, high, over, under)


def highest(x: Floats, values: Floats, x_scale: Scale, columns: int) -> Floats:
    """(columns,) The largest value in each column; an empty column takes the preceding value."""
    index = x_scale.parted(x, columns)
    result = _reduced(values, index, np.fmax)
    empty = index[1:] == index[:-1]
    result[empty] = values[np.maximum(index[:-1][empty] - 1, 0)] if values.size else np.nan
    return result


def _reduced(values: Floats, index: NDArray[np.intp], reduce: np.ufunc) -> Floats:
    """Apply `reduce` to the values between consecutive indices; NaN where there are none."""
    result = np.full(index.size - 1, np.nan)
    filled = index[1:] > index[:-1]
    if filled.any():
        result[filled] = reduce.reduceat(values[: index[-1]], index[:-1][filled])
    return result


def _cuts(
    x: Floats, edges: tuple[Floats, ...], index: NDArray[np.intp], x_scale: Scale, log_y: bool
) -> Floats:
    """(edges, bounds) Warped value of each edge's polyline at the bounds; NaN outside it or next to a NaN."""
    result = np.full((len(edges), index.size), np.nan)
    inside = slice(*np.searchsorted(index, [1, x.size]).tolist())
    right = index[inside]
    if not right.size:
        return result
    left = right - 1
    at = warped(x_scale.bounds(index.size - 1)[inside], x_scale.log)
    x_left, x_right = warped(x[left], x_scale.log), warped(x[right], x_scale.log)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(x_right > x_left, (at - x_left) / (x_right - x_left), 1.0)
    weight = np.where(np.isfinite(weight), np.clip(weight, 0.0, 1.0), np.nan)
    for row, y in zip(result, edges, strict=True):
        low, high = np.clip(warped(y[np.stack([left, right])], log_y), -2 * FAR, 2 * FAR)
        row[inside] = low + weight * (high - low)
    return result


EDGE = 1 + 1e-9
"""Fraction of the axis above which a curve counts as beyond it."""
MOSTLY = 5
"""Dots out of a cell's 8 that a band must cover for the cell's background to be tinted."""


class Layers:
    """Dots and colors of a plot of h x w cells.

    Faint dots are in the background: a cell shows them only if no other curve has a dot there, so a smoothed curve
    stands out from its own noise.

    Arguments:
        width: w
        height: h
        x_scale: range of steps shown.
        y_scale: range of values shown.
        palette: colors.
        cut: whether curves may extend beyond the values shown.
    """

    def __init__(
        self,
        width: int,
        height: int,
        x_scale: Scale,
        y_scale: Scale,
        palette: Palette,
        *,
        cut: bool = False,
    ) -> None:
        self.bits: Bits = np.zeros((height, width), np.uint8)
        self._faint_bits: Bits = np.zeros((height, width), np.uint8)
        self._styles: NDArray[np.int64] = np.zeros((height, width), np.int64)
        self._backgrounds: NDArray[np.int64] = np.full((height, width), palette.background, np.int64)
        self.over: dict[int, int] = {}
        """Cell columns in which a curve reaches plus infinity, with the curve's style."""
        self.under: dict[int, int] = {}
        self.above: dict[int, int] = {}
        """Cell columns in which a curve extends beyond the values shown, with the curve's style."""
        self.below: dict[int, int] = {}
        self._cut = cut
        self._x_scale, self._y_scale, self._palette = x_scale, y_scale, palette
        self._columns, self._rows = 2 * width, 4 * height

    def add(self, curve: Curve, faint: bool) -> None:
        """Draw a curve over the previous ones."""
        span = envelope(curve, self._x_scale, self._columns, self._y_scale.log)
        low = self._y_scale.fraction_of_warped(span.low)
        high = self._y_scale.fraction_of_warped(span.high)
        if not curve.is_line and (not faint or curve.weight == "spread"):
            self._fill(low, high, curve.style)
        if curve.weight == "spread":  # no edges: they would hide the lines inside the band
            return
        if curve.is_line:
            dots = line_dots(low, high, self._rows)
        else:
            dots, _ = band_dots(low, high, self._rows)
        pattern = self._palette.dash(curve.style)
        if curve.bold:
            dots[1:] |= dots[:-1].copy()
        elif pattern:
            dots = dashed(dots, dashes(pattern, self._columns))
        if faint:
            self._paint_faint(dots, curve.style)
        elif curve.floor is None:
            self._paint(braille_bits(dots), curve.style)
        else:
            self._paint_over_floor(curve, curve.floor, dots)
        _flag(((span.over, self.over), (span.under, self.under)), curve.style)
        if self._cut and not faint:
            with np.errstate(invalid="ignore"):
                _flag(((high > EDGE, self.above), (low < 1 - EDGE, self.below)), curve.style)

    def _paint(self, bits: Bits, style: int) -> None:
        self.bits |= bits
        self._styles[bits > 0] = self._palette.cell_style(self._palette.curve(style))

    def _paint_faint(self, dots: Dots, style: int) -> None:
        """Paint in a fainter color; where colors cannot be blended, dimmed and with half of the dots."""
        translucent = self._palette.translucent
        if not translucent:
            dots = dots & ((self._row_numbers() + np.arange(self._columns)) % 2 == 0)
        bits = braille_bits(dots)
        self._faint_bits |= bits
        free = (bits > 0) & (self.bits == 0)
        color = self._palette.faint(style)
        self._styles[free] = self._palette.cell_style(color, dim=not translucent)

    def _paint_over_floor(self, curve: Curve, floor: Floats, dots: Dots) -> None:
        """Paint a curve, faintly in cells whose dots all lie below the noise floor."""
        limit = highest(curve.x, floor, self._x_scale, self._columns)
        under = dots & (self._row_numbers() > rows_of(self._y_scale.fraction(limit), self._rows))
        self._paint_faint(under, curve.style)
        bits = braille_bits(dots)
        self._paint(np.where(braille_bits(dots & ~under) > 0, bits, 0).astype(np.uint8), curve.style)

    def _fill(self, low: Floats, high: Floats, style: int) -> None:
        """Tint the background; where colors cannot be blended, hatch it in a direction chosen by the style."""
        if not self._palette.translucent:
            hatch = (self._row_numbers() + (1 + style % 3) * np.arange(self._columns)) % 4 == 0
            _, inside = band_dots(low, high, self._rows)
            self._paint_faint(inside & hatch, style)
            return
        filled = covered(low, high, self._rows) >= MOSTLY
        for under in set(self._backgrounds[filled].tolist()):
            self._backgrounds[filled & (self._backgrounds == under)] = self._palette.fill(style, under)

    def _row_numbers(self) -> NDArray[np.intp]:
        return np.arange(self._rows)[:, None]

    def onto(self, grid: Grid, top: int, left: int) -> None:
        """Write dots and backgrounds into their area of the grid; cells without dots keep their characters."""
        height, width = self.bits.shape
        inside = np.s_[top : top + height, left : left + width]
        bits = np.where(self.bits > 0, self.bits, self._faint_bits)
        lit = bits > 0
        grid.characters[inside][lit] = BLANK + bits[lit].astype(np.uint32)
        grid.styles[inside][lit] = self._styles[lit]
        tinted = self._backgrounds != self._palette.background
        block = grid.styles[inside]
        block[tinted] = with_background(block[tinted], self._backgrounds[tinted])


def _flag(edges: Iterable[tuple[NDArray[np.bool_], dict[int, int]]], style: int) -> None:
    """Record the style for the cell columns that contain flagged dot columns."""
    for columns, flags in edges:
        if columns.any():
            flags.update(dict.fromkeys((np.flatnonzero(columns) // 2).tolist(), style))


def last_point(curve: Curve, log_y: bool) -> tuple[float, float] | None:
    """Step and warped value of the last point that is not NaN; infinities count."""
    finite = np.flatnonzero(~np.isnan(curve.high))
    if not finite.size:
        return None
    i = int(finite[-1])
    return float(curve.x[i]), float(warped(curve.high[i : i + 1], log_y)[0])
