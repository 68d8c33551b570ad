"""Charts against the step length, at one measurement of a probe that goes along a direction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bncore.aggregate import Member, aggregate
from bncore.config.measure import Band, Measure
from bncore.figure import ChartData, Curve, Floats
from bncore.follow.groups import Group, group_curves
from bncore.follow.run_view import RunView
from bncore.store.columns import Columns
from bncore.store.measured import EMPTY, Points, lr_of, rows
from bntui.live.drawing import PanelState, as_drawn, emphasized, hlines, row_at, why_empty
from bntui.live.reference import overlay


def by_length(measure: Measure, views: Sequence[RunView], state: PanelState) -> ChartData:
    """A measure with a value for each step length, at the measurement that the crosshair stands on (Fig 11)."""
    drawn, title = as_drawn(measure, views, state)
    alone = tuple(Group(view.name, view.style, (view,)) for view in views)
    groups = state.grouping.groups(views) if state.grouping and views else alone
    band = state.grouping.band if state.grouping else "interval"
    curves = [curve for group in groups for curve in _of_group(group, drawn, state.step, band)]
    return ChartData(
        f"{title}{_when(views, drawn, state)}",
        (*emphasized(curves, groups, state.pinned), *overlay(measure.key, views, state)),
        (),
        hlines(views, drawn) if curves else (),
        log_y=drawn.log,
        log_x=True,
        x_name="step length",
        note=why_empty(views, drawn),
    )


def _of_group(group: Group, measure: Measure, step: float | None, band: Band) -> Iterator[Curve]:
    """A run, or the mean of several, at the newest step that all have measured where none is chosen."""
    newest = [steps[-1] for view in group.runs if len(steps := rows(view.columns, measure)[0])]
    step = min(newest, default=0.0) if step is None else step
    staying = [view for view in group.runs if group.left.get(view.run.path, np.inf) > step]
    lines = [line for view in staying if len((line := _at_lengths(view.columns, measure, step)).x)]
    if len(group.runs) > 1:
        mean = aggregate([Member(line.x, line.y) for line in lines], band, log=measure.log)
        yield from group_curves(group, measure, None, band, known=lambda _: mean)
    elif lines:
        (line,), diverged = lines, group.runs[0].state == "diverged"
        yield Curve(group.name, group.style, line.x, line.y, line.y, diverged=diverged)


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
