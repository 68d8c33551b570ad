"""Export of a chart: its numbers as CSV, and its visible part as a picture for `bncore.report.render`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bncore.figure import ChartData, Curve, Floats, LegendEntry, Picture
from bntui.chart.scale import Scale
from bntui.chart.smooth import smoothed_curve
from bntui.chart.view import View, beyond, x_scale, y_scale

COLUMNS = 1200
"""A curve of more than twice this many points is reduced to the lowest and highest point of each column."""


def csv_text(data: ChartData) -> str:
    """CSV with a row for each point of each curve: curve, step, low, high, floor; a line has low equal to high."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["curve", data.x_name, "low", "high", "floor"])
    for curve in data.curves:
        floors = [""] * curve.x.size if curve.floor is None else curve.floor.tolist()
        points = zip(
            data.x_written(curve.x).tolist(), curve.low.tolist(), curve.high.tolist(), floors, strict=True
        )
        writer.writerows([curve.label, f"{x:.15g}", low, high, floor] for x, low, high, floor in points)
    return text.getvalue()


def picture_of(
    data: ChartData, view: View | None = None, smoothing: float = 0.0, setting: str = ""
) -> Picture:
    """The chart as a picture with a legend.

    Arguments:
        view: visible part; None: everything.
        smoothing: smoothing of the explorer's moving average; the raw curves stay, faintly.
        setting: subtitle.
    """
    view = view or View()
    shown = x_scale(data, view)
    title = f"{data.title}, smoothed by {smoothing:g}" if smoothing else data.title
    span = view.y
    if view.clips and shown is not None:
        strong = [smoothed_curve(curve, smoothing) for curve in data.curves]
        y = y_scale(data, strong, shown, view)
        if y is not None:
            span = y.span
            title += f", {beyond(strong, shown, y):,} points beyond"
    curves = [_thinned(curve, shown) for one in data.curves for curve in _with_raw(one, smoothing)]
    panel = replace(
        data,
        title="",
        curves=tuple(sorted(curves, key=lambda curve: not curve.faint)),
        x_span=view.x or (None if data.log_x else data.least),
        y_span=span or data.y_span,
    )
    named = (curve for curve in data.curves if curve.weight != "spread")
    legend = tuple(dict.fromkeys(LegendEntry(curve.label, curve.style) for curve in named))
    return Picture("", title, setting, (panel,), legend, columns=1)


def together(pictures: Mapping[str, Picture]) -> Picture:
    """Combine pictures of one measure into one, with a named panel for each."""
    panels = tuple(
        replace(panel, title=name) for name, picture in pictures.items() for panel in picture.panels
    )
    legend = tuple(dict.fromkeys(entry for picture in pictures.values() for entry in picture.legend))
    first = next(iter(pictures.values()))
    return replace(first, panels=panels, legend=legend, columns=min(len(panels), 3))


def _with_raw(curve: Curve, smoothing: float) -> tuple[Curve, ...]:
    """The curve, or if it is smoothed, the faint raw curve and the smoothed one."""
    if curve.faint or not smoothing:
        return (curve,)
    return replace(curve, weight="faint", diverged=False), smoothed_curve(curve, smoothing)


def _thinned(curve: Curve, shown: Scale | None) -> Curve:
    """The curve's visible points and their neighbors; if there are many, the lowest and highest of each column."""
    rows = np.arange(len(curve.x))
    if shown is not None:
        first, last = np.searchsorted(curve.x, [shown.low, shown.high])
        rows = rows[max(0, int(first) - 1) : int(last) + 2]
    if len(rows) > 2 * COLUMNS:
        parts = np.array_split(rows, COLUMNS)
        lowest = [part[_extreme(curve.low[part], -1)] for part in parts]
        highest = [part[_extreme(curve.high[part], 1)] for part in parts]
        rows = np.unique([*lowest, *highest])
    return curve.part(rows)


def _extreme(values: Floats, sign: int) -> int:
    """Index of the largest (`sign` 1) or smallest (-1) value; NaN counts only if there is nothing else."""
    return int(np.argmax(np.where(np.isnan(values), -np.inf, sign * values)))
