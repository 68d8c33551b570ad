"""Curves laid over each other in one field of cells: dots join, the colour of the last one wins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bntui.chart.data import Curve
from bntui.chart.decimate import Envelope, envelope, highest
from bntui.chart.grid import Grid
from bntui.chart.ink import ink, with_background
from bntui.chart.palette import Palette, dashes
from bntui.chart.raster import BLANK, Bits, Dots, band_dots, braille_bits, dashed, line_dots, rows_of
from bntui.chart.scale import Scale, warped

MOSTLY = 5
"""Dots of a cell, of 8, that must lie inside of a band for the cell's background to be filled."""


class Layers:
    """The dots and inks of a plot of h x w cells.

    Arguments:
        width: w
        height: h
        x_scale: the steps shown.
        y_scale: the values shown.
        palette: its colours.
    """

    def __init__(self, width: int, height: int, x_scale: Scale, y_scale: Scale, palette: Palette) -> None:
        self.bits: Bits = np.zeros((height, width), np.uint8)
        self.inks: NDArray[np.int64] = np.full(
            (height, width), ink(palette.text, palette.background), np.int64
        )
        self.backgrounds: NDArray[np.int64] = np.full((height, width), palette.background, np.int64)
        self.over: dict[int, int] = {}
        """Cell columns in which a curve went to plus infinity, and the ink of the curve."""
        self.under: dict[int, int] = {}
        self._x_scale, self._y_scale, self._palette = x_scale, y_scale, palette
        self._columns, self._rows = 2 * width, 4 * height

    def add(self, curve: Curve, faint: bool) -> None:
        """Draws a curve over what is there."""
        span = envelope(curve, self._x_scale, self._columns, self._y_scale.log)
        low = self._y_scale.fraction_of_warped(span.low)
        high = self._y_scale.fraction_of_warped(span.high)
        if curve.is_line:
            dots = line_dots(low, high, self._rows)
        else:
            dots, inside = band_dots(low, high, self._rows)
            if not faint:
                self._fill(inside, curve.style)
        dots = dashed(dots, dashes(curve.style, self._columns))
        if faint:
            self._paint_faint(dots, curve.style)
        elif curve.floor is None:
            self._paint(dots, self._ink(curve.style))
        else:
            below = self._below_floor(curve, dots)
            self._paint_faint(below, curve.style)
            self._paint(dots & ~below, self._ink(curve.style))
        self._flag(span, curve.style)

    def _ink(self, style: int, dim: bool = False) -> int:
        return ink(self._palette.curve(style), self._palette.background, dim=dim)

    def _paint(self, dots: Dots, value: int) -> None:
        bits = braille_bits(dots)
        self.bits |= bits
        self.inks[bits > 0] = value

    def _paint_faint(self, dots: Dots, style: int) -> None:
        """In a fainter colour; where colours cannot be mixed, dim and with half of the dots."""
        if self._palette.translucent:
            self._paint(dots, ink(self._palette.faint(style), self._palette.background))
            return
        rows, columns = np.indices(dots.shape, sparse=True)
        self._paint(dots & ((rows + columns) % 2 == 0), self._ink(style, dim=True))

    def _fill(self, inside: Dots, style: int) -> None:
        """A tinted background; where colours cannot be mixed, a hatch whose direction goes by the style."""
        if not self._palette.translucent:
            rows, columns = np.indices(inside.shape, sparse=True)
            self._paint(inside & ((rows + (1 + style % 3) * columns) % 4 == 0), self._ink(style, dim=True))
            return
        cells = inside.reshape(self._rows // 4, 4, self._columns // 2, 2).sum(axis=(1, 3)) >= MOSTLY
        for under in np.unique(self.backgrounds[cells]).tolist():
            self.backgrounds[cells & (self.backgrounds == under)] = self._palette.fill(style, under)

    def _below_floor(self, curve: Curve, dots: Dots) -> Dots:
        assert curve.floor is not None
        floor = highest(curve.x, curve.floor, self._x_scale, self._columns)
        limit = rows_of(self._y_scale.fraction(floor), self._rows)
        return np.asarray(dots & (np.arange(self._rows)[:, None] > limit))

    def _flag(self, span: Envelope, style: int) -> None:
        for columns, flags in ((span.over, self.over), (span.under, self.under)):
            for column in np.unique(np.flatnonzero(columns) // 2).tolist():
                flags[column] = self._ink(style)

    def onto(self, grid: Grid, top: int, left: int) -> None:
        """Writes the dots and backgrounds into their place in the grid; cells without dots keep what they show."""
        height, width = self.bits.shape
        place = np.s_[top : top + height, left : left + width]
        lit = self.bits > 0
        grid.characters[place][lit] = BLANK + self.bits[lit].astype(np.uint32)
        grid.inks[place][lit] = self.inks[lit]
        tinted = self.backgrounds != self._palette.background
        if tinted.any():
            block = grid.inks[place]
            block[tinted] = with_background_each(block[tinted], self.backgrounds[tinted])


def with_background_each(inks: NDArray[np.int64], backgrounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """`ink.with_background` of each pair."""
    result = [with_background(i, b) for i, b in zip(inks.tolist(), backgrounds.tolist(), strict=True)]
    return np.array(result, np.int64)


def last_point(curve: Curve, log_y: bool) -> tuple[float, float] | None:
    """Step and (warped) value of the last point that is a number, infinities among them."""
    known = np.flatnonzero(~np.isnan(curve.high))
    if not known.size:
        return None
    i = int(known[-1])
    return float(curve.x[i]), float(warped(curve.high[i : i + 1], log_y)[0])
