"""Runs against one of them: what each panel shows, minus what it shows for the reference run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bncore.figure import ChartData, Curve, Floats
from bncore.follow.run_view import RunView
from bntui.live.drawing import PanelState
from bntui.live.panels import Panel


def difference(panel: Panel, views: Sequence[RunView], against: RunView, state: PanelState) -> ChartData:
    """A panel's chart as differences to the run `against`, at the steps that both have: nothing is interpolated.

    The run itself is not drawn; its marks are. Of bands the lower edges are compared, and the upper ones.
    """
    alone = replace(state, reference=None)  # a curve of the paper is nobody's to subtract
    base = _joined(panel.make([against], alone).curves)
    chart = panel.make(views, alone)
    others = [curve for curve in chart.curves if base is not None and curve.style != against.style]
    curves = tuple(found for curve in others if base and (found := _minus(curve, base)) is not None)
    note = f"no step in common with {against.name}" if chart.curves and not curves else chart.note
    title = f"{chart.title}, minus {against.name}"
    return ChartData(title, curves, chart.vlines, log_x=chart.log_x, x_name=chart.x_name, note=note)


def _joined(curves: Sequence[Curve]) -> Curve | None:
    """A run's curve with, of a fork, its parent's before it."""
    if not curves:
        return None
    x, low, high = (np.concatenate([getattr(c, part) for c in curves]) for part in ("x", "low", "high"))
    return Curve(curves[-1].label, curves[-1].style, x, low, high)


def _minus(curve: Curve, base: Curve) -> Curve | None:
    """The difference of two curves at their common steps; NaN where either is not finite."""
    _, mine, theirs = np.intersect1d(curve.x, base.x, return_indices=True)
    if not len(mine):
        return None
    low = _finite(curve.low[mine], base.low[theirs])
    if curve.is_line:
        return replace(curve, x=curve.x[mine], low=low, high=low, floor=None)
    high = _finite(curve.high[mine], base.high[theirs])
    low, high = np.minimum(low, high), np.maximum(low, high)
    return replace(curve, x=curve.x[mine], low=low, high=high, floor=None)


def _finite(mine: Floats, theirs: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        gap = mine - theirs
    return np.where(np.isfinite(gap), gap, np.nan)
