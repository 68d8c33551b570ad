"""The visible part of the data: ranges chosen by the user, else ranges fitted to the data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from bncore.figure import ChartData, Curve, Floats, Span
from bntui.chart.scale import FAR, Scale, unwarped, warped
from bntui.chart.smooth import smoothed_curve
from bntui.chart.ticks import extended, snapped

Key = TypeVar("Key")
NARROWEST = 1e-9
"""Minimum length of a logarithmic axis, in decades."""
CORE, MARGIN = (0.05, 0.95), 0.5
"""Outliers exceed these quantiles of all visible points by more than this fraction of the quantiles' distance."""
SMALLEST = 5e-324
"""Lowest possible end of a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class View:
    """Ranges chosen by the user; None: fit to the data."""

    x: Span | None = None
    y: Span | None = None
    clips: bool = False
    """Whether the fitted y range excludes outliers."""

    @property
    def is_whole(self) -> bool:
        """Whether both ranges are fitted."""
        return self.x is None and self.y is None


def x_scale(data: ChartData, view: View) -> Scale | None:
    """Range of steps shown; None if there are none."""
    chosen = view.x or data.x_span
    if chosen is not None and (not data.log_x or chosen[0] > 0):
        return Scale(*chosen, data.log_x, data.falling)
    ends = [_ends_of(curve.x, data.log_x) for curve in data.curves]
    spans = [pair for pair in ends if pair is not None]
    if not spans:
        return None
    if data.least is not None:
        spans.append(data.least)
    low, high = min(pair[0] for pair in spans), max(pair[1] for pair in spans)
    if data.log_x:
        return Scale(low, high if high > low else 10 * low, log=True)
    return Scale(*extended(low, high), falling=data.falling)


def y_scale(data: ChartData, curves: Iterable[Curve], x: Scale, view: View) -> Scale | None:
    """Range of values shown: fitted to all finite values of these curves at the steps shown; None if there are
    none."""
    chosen = view.y or data.y_span
    if chosen is not None and (not data.log_y or chosen[0] > 0):
        return Scale(*chosen, data.log_y)
    span = (_without_outliers if view.clips else _whole)(curves, x, data.log_y)
    if span is None:
        return None
    first, last = snapped(*span)
    if data.log_y and last - first < NARROWEST:  # values so close to 1 that both ends would coincide
        first, last = first - 0.5, last + 0.5
    low, high = unwarped(np.array([first, last]), data.log_y).tolist()
    if data.log_y:
        low, high = max(low, SMALLEST), min(high, FAR)
    return Scale(low, high, data.log_y)


def beyond(curves: Iterable[Curve], x: Scale, y: Scale) -> int:
    """Number of points of non-faint curves, at the steps shown, that lie outside the y range."""
    count = 0
    for curve in curves:
        if not curve.faint:
            part = slice(*_first_last(curve, x))
            count += int(((curve.low[part] < y.low) | (curve.high[part] > y.high)).sum())
    return count


def span_of(text: str, *, log: bool) -> Span | None:
    """Parse a range such as ``0.1 10`` or ``0.1:10``; None for empty text.

    Raises:
        ValueError: the text is not a valid range of such an axis.
    """
    words = text.replace(",", " ").replace(":", " ").split()
    if not words:
        return None
    try:
        low, high = map(float, words)
    except ValueError:
        raise ValueError("expected two numbers, such as 0.1 10") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError("expected two finite numbers, the smaller one first")
    if log and low <= 0:
        raise ValueError("expected numbers above 0: the axis is logarithmic")
    return low, high


def over_one_range(charts: Mapping[Key, ChartData], view: View, smoothing: float) -> dict[Key, ChartData]:
    """Charts of one measure with a common range of values."""
    curves = tuple(smoothed_curve(curve, smoothing) for chart in charts.values() for curve in chart.curves)
    every = replace(next(iter(charts.values())), curves=curves)
    x = x_scale(every, view)
    y = None if x is None else y_scale(every, curves, x, view)
    return {key: replace(chart, y_span=None if y is None else y.span) for key, chart in charts.items()}


def _without_outliers(curves: Iterable[Curve], x: Scale, log: bool) -> Span | None:
    """Warped range of the finite visible values of non-faint curves, without outliers."""
    shown = [
        values[slice(*_first_last(curve, x))] for curve in curves if not curve.faint for values in curve.edges
    ]
    pooled = np.concatenate([np.empty(0), *shown])
    finite = pooled[(np.abs(pooled) < FAR) & (pooled > (0 if log else -np.inf))]
    if not finite.size:
        return None
    warped_values = warped(finite, log)
    low, high = np.quantile(warped_values, CORE).tolist()
    margin = MARGIN * (high - low)
    return max(float(warped_values.min()), low - margin), min(float(warped_values.max()), high + margin)


def _whole(curves: Iterable[Curve], x: Scale, log: bool) -> Span | None:
    """Warped range of all finite values at the steps shown."""
    ends = [pair for curve in curves for pair in _shown(curve, x, log)]
    if not ends:
        return None
    low, high = warped(np.array([min(pair[0] for pair in ends), max(pair[1] for pair in ends)]), log).tolist()
    return low, high


def _first_last(curve: Curve, x: Scale) -> tuple[int, int]:
    """Slice bounds of the visible points."""
    return int(np.searchsorted(curve.x, x.low)), int(np.searchsorted(curve.x, x.high, side="right"))


def _shown(curve: Curve, x: Scale, positive: bool) -> Iterable[Span]:
    """Ends of the finite values of the visible points and their two neighbors, for each edge."""
    first, last = _first_last(curve, x)
    for values in curve.edges:
        pair = finite_ends(values[max(0, first - 1) : last + 1], positive)
        if pair is not None:
            yield pair


def _ends_of(x: Floats, positive: bool) -> Span | None:
    """As `finite_ends`, for ascending values."""
    if x.size and x[0] > -FAR and x[-1] < FAR and (x[0] > 0 or not positive):
        return float(x[0]), float(x[-1])
    return finite_ends(x, positive)


def finite_ends(values: Floats, positive: bool) -> Span | None:
    """Smallest and largest finite (and if required positive) values; None if there are none."""
    if not values.size:
        return None
    low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    if not (low > -FAR and high < FAR) or (positive and low <= 0):
        finite = values[(np.abs(values) < FAR) & (values > (0 if positive else -np.inf))]
        return (float(finite.min()), float(finite.max())) if finite.size else None
    return low, high
