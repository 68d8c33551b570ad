"""Curves and charts for the tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bncore.figure import ChartData, Curve
from bntui.chart.raster import BLANK


def line(values: ArrayLike, x: ArrayLike | None = None, style: int = 0, **more: Any) -> Curve:
    """A line through these values, at the steps 0, 1, 2, … if none are given."""
    y = np.asarray(values, float)
    steps = np.arange(y.size, dtype=float) if x is None else np.asarray(x, float)
    return Curve(more.pop("label", f"run {style}"), style, steps, y, y, **more)


def band(low: ArrayLike, high: ArrayLike, style: int = 0) -> Curve:
    lows = np.asarray(low, float)
    return Curve(f"run {style}", style, np.arange(lows.size, dtype=float), lows, np.asarray(high, float))


def chart(*curves: Curve, **more: Any) -> ChartData:
    return ChartData(more.pop("title", "Loss"), curves, **more)


def dots_of(rows: list[str]) -> np.ndarray:
    """(4 h, 2 w): the lit dots of rows of text; what is no braille character has none."""
    bits = np.array([[ord(c) - BLANK if BLANK <= ord(c) < BLANK + 256 else 0 for c in row] for row in rows])
    dots = np.zeros((4 * bits.shape[0], 2 * bits.shape[1]), bool)
    for bit, (row, column) in enumerate([(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0), (3, 1)]):
        dots[row::4, column::2] = bits >> bit & 1
    return dots
