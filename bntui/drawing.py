"""The explorer's charts as pictures for `bncore.report.drawing`, the one writer of SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bncore.report.picture import Curve as Drawn
from bncore.report.picture import Floats, LegendEntry, Picture, Plot, Style
from bncore.report.picture import Mark as DrawnMark
from bncore.report.picture import Rule as DrawnRule
from bntui.chart.data import ChartData, Curve
from bntui.chart.palette import LIGHT
from bntui.chart.scale import Scale
from bntui.chart.smooth import smoothed
from bntui.chart.view import View, x_scale

COLUMNS = 1200
"""A line of more points than twice these is drawn by the lowest and the highest point of each column."""


def picture_of(
    data: ChartData, view: View | None = None, smoothing: float = 0.0, setting: str = ""
) -> Picture:
    """The chart as a picture on white, in the colours that its runs have in the explorer on a light ground.

    Arguments:
        view: the part of it that is shown; None: all.
        smoothing: of the explorer's moving average; the raw curves stay, faintly.
        setting: said under the title.
    """
    view = view or View()
    shown = x_scale(data, view)
    curves = [curve for one in data.curves for curve in _curves(one, shown, smoothing)]
    plot = Plot(
        title="",
        x_name=data.x_name,
        y_name="",
        curves=tuple(sorted(curves, key=lambda curve: curve.weight == "main")),
        rules=tuple(DrawnRule(rule.y, rule.text) for rule in data.rules),
        marks=tuple(
            DrawnMark(mark.x, mark.text, None if mark.style is None else style_of(mark.style))
            for mark in data.marks
        ),
        log_x=data.log_x,
        log_y=data.log_y,
        x_span=view.x or (None if data.log_x else data.least),
        y_span=view.y,
    )
    keys = dict.fromkeys((curve.name, curve.style) for curve in data.curves)
    title = f"{data.title}, smoothed by {smoothing:g}" if smoothing else data.title
    legend = tuple(LegendEntry(name, style_of(style)) for name, style in keys)
    return Picture("", title, setting, (plot,), legend, has_paper=False, notes=(), columns=1)


def style_of(style: int) -> Style:
    """Colour and second cue of a run."""
    return Style(LIGHT.css(style).lower(), style)


def _curves(curve: Curve, shown: Scale | None, smoothing: float) -> list[Drawn]:
    """The curve; if it is to be smoothed, behind it the raw one."""
    if curve.faint:
        return [_drawn(curve, shown, weight_of_seed=True)]
    if not smoothing:
        return [_drawn(curve, shown)]
    low = smoothed(curve.low, smoothing)
    high = low if curve.is_line else smoothed(curve.high, smoothing)
    smooth = replace(curve, low=low, high=high)
    return [_drawn(curve, shown, weight_of_seed=True), _drawn(smooth, shown)]


def _drawn(curve: Curve, shown: Scale | None, *, weight_of_seed: bool = False) -> Drawn:
    x, low, high, floor = _thinned(curve, shown)
    return Drawn(
        curve.name,
        style_of(curve.style),
        x,
        low,
        low if curve.is_line else high,
        weight="seed" if weight_of_seed else "main",
        diverged=curve.diverged and not weight_of_seed,
        floor=floor,
    )


def _thinned(curve: Curve, shown: Scale | None) -> tuple[Floats, Floats, Floats, Floats | None]:
    """The points shown and the ones beside them; of many, the lowest and the highest of each column."""
    rows = np.arange(len(curve.x))
    if shown is not None:
        first, last = np.searchsorted(curve.x, [shown.low, shown.high])
        rows = rows[max(0, int(first) - 1) : int(last) + 2]
    if len(rows) > 2 * COLUMNS:
        parts: Sequence[np.ndarray] = np.array_split(rows, COLUMNS)
        lowest = [part[_extreme(curve.low[part], -1)] for part in parts]
        highest = [part[_extreme(curve.high[part], 1)] for part in parts]
        rows = np.unique([*lowest, *highest])
    floor = None if curve.floor is None else curve.floor[rows]
    return curve.x[rows], curve.low[rows], curve.high[rows], floor


def _extreme(values: Floats, sign: int) -> int:
    """Where the largest (`sign` 1) or smallest (-1) of the values is; NaN only where there is nothing else."""
    return int(np.argmax(np.where(np.isnan(values), -np.inf, sign * values)))
