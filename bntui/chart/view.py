"""Which part of the data is shown: what the reader has chosen, else what fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bncore.figure import ChartData, Curve, Floats, Span
from bntui.chart.scale import FAR, Scale, unwarped, warped
from bntui.chart.ticks import extended, snapped

NARROWEST = 1e-9
"""Decades that a logarithmic axis spans at the least."""
SMALLEST = 5e-324
"""Where a logarithmic axis ends at the latest."""


@dataclass(frozen=True, slots=True)
class View:
    """The ranges that the reader has chosen; None: whatever fits."""

    x: Span | None = None
    y: Span | None = None


def x_scale(data: ChartData, view: View) -> Scale | None:
    """The steps shown; None where there are none."""
    chosen = view.x or data.x_span
    if chosen is not None and (not data.log_x or chosen[0] > 0):
        return Scale(*chosen, data.log_x, data.falling)
    ends = [finite_ends(curve.x, data.log_x) for curve in data.curves]
    known = [pair for pair in ends if pair is not None]
    if not known:
        return None
    if data.least is not None:
        known.append(data.least)
    low, high = min(pair[0] for pair in known), max(pair[1] for pair in known)
    if data.log_x:
        return Scale(low, high if high > low else 10 * low, log=True)
    return Scale(*extended(low, high), falling=data.falling)


def y_scale(data: ChartData, curves: Iterable[Curve], x: Scale, view: View) -> Scale | None:
    """The values shown: around all finite ones of these curves at the steps shown; None where there are none."""
    chosen = view.y or data.y_span
    if chosen is not None and (not data.log_y or chosen[0] > 0):
        return Scale(*chosen, data.log_y)
    ends = [pair for curve in curves for pair in _shown(curve, x, data.log_y)]
    if not ends:
        return None
    places = warped(np.array([min(pair[0] for pair in ends), max(pair[1] for pair in ends)]), data.log_y)
    first, last = snapped(float(places[0]), float(places[1]))
    if data.log_y and last - first < NARROWEST:  # values beside 1, whose powers of ten would be equal
        first, last = first - 0.5, last + 0.5
    low, high = unwarped(np.array([first, last]), data.log_y).tolist()
    if data.log_y:
        low, high = max(low, SMALLEST), min(high, FAR)
    return Scale(low, high, data.log_y)


def _shown(curve: Curve, x: Scale, positive: bool) -> Iterable[Span]:
    """Ends of the finite values of the points shown and of the one before and after them."""
    first = max(0, int(np.searchsorted(curve.x, x.low)) - 1)
    last = int(np.searchsorted(curve.x, x.high, side="right")) + 1
    for values in (curve.low,) if curve.is_line else (curve.low, curve.high):
        pair = finite_ends(values[first:last], positive)
        if pair is not None:
            yield pair


def finite_ends(values: Floats, positive: bool) -> Span | None:
    """Smallest and largest of the finite (and positive) values."""
    if not values.size:
        return None
    low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    if not (low > -FAR and high < FAR) or (positive and low <= 0):
        kept = values[(np.abs(values) < FAR) & (values > (0 if positive else -np.inf))]
        return (float(kept.min()), float(kept.max())) if kept.size else None
    return low, high
