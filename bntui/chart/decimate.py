"""A curve of any length as one span per dot column: what its polyline reaches there, from lowest to highest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bncore.figure import Curve, Floats
from bntui.chart.scale import FAR, Scale, warped


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """Lowest and highest place of a curve in each of w columns, as the axis spaces them; NaN: nothing there."""

    low: Floats
    """(w,)"""
    high: Floats
    """(w,)"""
    over: NDArray[np.bool_]
    """(w,) whether a point of the column was +inf."""
    under: NDArray[np.bool_]
    """(w,) whether a point of the column was -inf, or not positive on a logarithmic axis."""


def envelope(curve: Curve, x_scale: Scale, columns: int, log_y: bool) -> Envelope:
    """The span of the curve's polyline in each of `columns` equal parts of the x axis.

    The polyline is cut at the bounds of the columns, so the spans of neighbours share a value and their dots
    touch; a NaN breaks it. O(columns log n) and two passes over the points shown.
    """
    bounds = x_scale.bounds(columns)
    index = np.searchsorted(curve.x, bounds)
    index[-1] = np.searchsorted(curve.x, bounds[-1], side="right")
    low = _reduced(curve.low, index, np.fmin)
    high = _reduced(curve.high, index, np.fmax)
    low, high = warped(low, log_y), warped(high, log_y)
    over, under = high == np.inf, low == -np.inf
    low, high = np.clip(low, -2 * FAR, 2 * FAR), np.clip(high, -2 * FAR, 2 * FAR)
    if curve.weight == "spread" and (index[1:] > index[:-1]).all():
        return Envelope(low, high, over, under)  # cells are tinted, where no gap between columns is seen
    edges = (curve.low,) if curve.is_line else (curve.low, curve.high)
    cuts = _cuts(curve.x, edges, index, x_scale, log_y)
    low_cuts, high_cuts = cuts[0], cuts[-1]
    low = np.fmin(low, np.fmin(low_cuts[:-1], low_cuts[1:]))
    high = np.fmax(high, np.fmax(high_cuts[:-1], high_cuts[1:]))
    return Envelope(low, high, over, under)


def highest(x: Floats, values: Floats, x_scale: Scale, columns: int) -> Floats:
    """The largest value in each column, the one before it where a column has none; (columns,)."""
    bounds = x_scale.bounds(columns)
    index = np.searchsorted(x, bounds)
    index[-1] = np.searchsorted(x, bounds[-1], side="right")
    result = _reduced(values, index, np.fmax)
    empty = index[1:] == index[:-1]
    result[empty] = values[np.maximum(index[:-1][empty] - 1, 0)] if values.size else np.nan
    return result


def _reduced(values: Floats, index: NDArray[np.intp], reduce: np.ufunc) -> Floats:
    """`reduce` over the values between each two indices; NaN where there are none."""
    result = np.full(index.size - 1, np.nan)
    filled = index[1:] > index[:-1]
    if filled.any():
        result[filled] = reduce.reduceat(values[: index[-1]], index[:-1][filled])
    return result


def _cuts(
    x: Floats, edges: tuple[Floats, ...], index: NDArray[np.intp], x_scale: Scale, log_y: bool
) -> Floats:
    """Where each edge's polyline crosses the bounds, (edges, bounds); NaN outside of it and beside a NaN."""
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
