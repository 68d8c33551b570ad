"""Charts against the step length, at one measurement of a probe that goes along a direction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bncore.config.measure import Measure
from bncore.figure import ChartData, Curve, Floats
from bncore.follow.run_view import RunView
from bncore.store.columns import Columns
from bncore.store.measured import EMPTY, Points, lr_of, rows
from bntui.live.drawing import PanelState, as_drawn, emphasized, hlines, row_at, why_empty
from bntui.live.reference import overlay


def by_length(measure: Measure, views: Sequence[RunView], state: PanelState) -> ChartData:
    """A measure with a value for each step length, at the measurement that the crosshair stands on (Fig 11)."""
    drawn, title = as_drawn(measure, views, state)
    found = ((view, _at_lengths(view.columns, drawn, state.step)) for view in views)
    curves = [
        Curve(view.name, view.style, line.x, line.y, line.y, diverged=view.state == "diverged")
        for view, line in found
        if len(line.x)
    ]
    return ChartData(
        f"{title}{_when(views, drawn, state)}",
        (*emphasized(curves, views, state.pinned), *overlay(measure.key, views, state)),
        (),
        hlines(views, drawn) if curves else (),
        log_y=drawn.log,
        log_x=True,
        x_name="step length",
        note=why_empty(views, drawn),
    )


def lengths(views: Sequence[RunView], table: str) -> str:
    """``, a ∈ 0.5…4·lr`` where all the runs have the same step lengths; else nothing."""
    found = {
        (float(values[-1].min()), float(values[-1].max()))
        for view in views
        if (values := view.columns.series(table, "multiples").values).ndim == 2
    }
    if len(found) != 1:
        return ""
    low, high = found.pop()
    return f", a ∈ {low:.3g}…{high:.3g}·lr"


def _at_lengths(columns: Columns, measure: Measure, step: float | None) -> Points:
    """The measurement (n, lengths) at `step` over the lengths, ascending."""
    steps, values = rows(columns, measure)
    multiples, two_over_lr = (columns.series(measure.table, f).values for f in ("multiples", "two_over_lr"))
    if values.ndim != 2 or multiples.shape != values.shape or len(two_over_lr) != len(values):
        return EMPTY
    at = row_at(steps, step)
    x: Floats = multiples[at] * (lr_of(float(two_over_lr[at])) or np.nan)
    order = np.argsort(x)
    known = order[np.isfinite(x[order])]
    return Points(x[known], values[at][known])


def _when(views: Sequence[RunView], measure: Measure, state: PanelState) -> str:
    """``, step 4,800``: of the measurements drawn, where they are of one step."""
    steps = [rows(view.columns, measure)[0] for view in views]
    at = {int(found[row_at(found, state.step)]) for found in steps if len(found)}
    return f", step {at.pop():,}" if len(at) == 1 else ""
