"""All available charts, by the key of their measure (`bncore.measures`), and the paper's curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bncore.aggregate import Member, aggregate
from bncore.config.errors import escape_control
from bncore.config.measure import Band, Measure
from bncore.figure import ChartData, Curve, Floats
from bncore.follow.groups import Group, curve_of, group_curves
from bncore.follow.run_view import RunView
from bncore.measures import LOG, MEASURES, logged, measure_of
from bncore.report.paper import PaperCurve, reference
from bncore.store.columns import Columns
from bncore.store.measured import EMPTY, Points, lr_of, middle_layer, rows
from bntui.live.axes import AXES, on_axis, unplaced
from bntui.live.drawing import (
    PanelState,
    as_drawn,
    chosen_layer,
    emphasized,
    hlines,
    layer_title,
    not_measured,
    row_at,
    vlines,
    why_empty,
)


def overlay(
    key: str, views: Sequence[RunView], state: PanelState, layer: int | None = None
) -> tuple[Curve, ...]:
    """The paper's curves as a chart draws them: faint, each in the color of the corresponding run, or in an unused
    color if there is none. Empty unless they are enabled."""
    if state.reference is None or not views:
        return ()
    paper = reference(key, state.figure, folder=state.reference, layer=layer, step=state.step)
    free = max(view.style for view in views) + 1
    end = math.inf if key.endswith("by_length") else max(view.steps for view in views)
    curves = []
    for curve in paper:
        style = _style(curve, views)
        if style is None:
            style, free = free, free + 1
        drawn = curve.drawn(style, "faint", end)  # no further than the runs will get
        curves.append(replace(drawn, label=escape_control(drawn.label)))
    return tuple(curves)


def _style(curve: PaperCurve, views: Sequence[RunView]) -> int | None:
    """Style of the first run with the curve's norm, noise and, if the legend names one, learning rate."""
    for view in views:
        spec = view.submitted
        if spec is not None and curve.shows(spec.norm.kind, spec.optim.lr, noisy=spec.noise.on):
            return view.style
    return None


def by_length(measure: Measure, views: Sequence[RunView], state: PanelState) -> ChartData:
    """A measure with a value for each step length, at the crosshair's measurement (Fig 11)."""
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
    """A run's curve, or the mean of several, at `step`; by default at the newest step that all have measured."""
    newest = [steps[-1] for view in group.runs if len(steps := rows(view.columns, measure)[0])]
    step = min(newest, default=0.0) if step is None else step
    staying = [view for view in group.runs if group.left.get(view.run.path, np.inf) > step]
    lines = [line for view in staying if len((line := _at_lengths(view.columns, measure, step)).x)]
    if len(group.runs) > 1:
        mean = aggregate([Member(line.x, line.y) for line in lines], band, log=measure.log)
        yield from group_curves(group, measure, None, band, aggregate_of=lambda _: mean)
    elif lines:
        (line,), diverged = lines, group.runs[0].state == "diverged"
        yield Curve(group.name, group.style, line.x, line.y, line.y, diverged=diverged)


def lengths(views: Sequence[RunView], table: str) -> str:
    """``, a ∈ 0.5…4·lr`` if all runs have the same range of step lengths, else empty."""
    ranges = {
        (float(values[-1].min()), float(values[-1].max()))
        for view in views
        if (values := view.columns.series(table, "multiples").values).ndim == 2
    }
    if len(ranges) != 1:
        return ""
    low, high = ranges.pop()
    return f", a ∈ {low:.3g}…{high:.3g}·lr"


def _at_lengths(columns: Columns, measure: Measure, step: float | None) -> Points:
    """One row of the measurements (n, lengths), that at `step`, over ascending step lengths."""
    steps, values = rows(columns, measure)
    multiples, two_over_lr = (columns.series(measure.table, f).values for f in ("multiples", "two_over_lr"))
    if values.ndim != 2 or multiples.shape != values.shape or len(two_over_lr) != len(values):
        return EMPTY
    at = row_at(steps, step)
    x: Floats = multiples[at] * (lr_of(float(two_over_lr[at])) or np.nan)
    order = np.argsort(x)
    finite = order[np.isfinite(x[order])]
    return Points(x[finite], values[at][finite])


def _when(views: Sequence[RunView], measure: Measure, state: PanelState) -> str:
    """``, step 4,800`` if the measurements drawn share a step, else empty."""
    steps = [rows(view.columns, measure)[0] for view in views]
    at = {int(row_steps[row_at(row_steps, state.step)]) for row_steps in steps if len(row_steps)}
    return f", step {at.pop():,}" if len(at) == 1 else ""


@dataclass(frozen=True)
class Panel:
    """A chart of a measure, with a line or a band for each run."""

    measure: Measure

    @property
    def title(self) -> str:
        """Title in the picker."""
        return self.measure.title

    def make(self, views: Sequence[RunView], state: PanelState) -> ChartData:
        """The chart of these runs."""
        if self.measure.per == "length":
            return by_length(self.measure, views, state)
        measure, title = as_drawn(self.measure, views, state)
        layer, note = None, why_empty(views, measure)
        if measure.per_layer:
            layer = chosen_layer(views, measure, state)
            title = f"{title}, {layer_title(views, layer)}"
        elif measure.high:
            title += lengths(views, measure.table)
        if state.grouping is None:
            placed_curves = (
                placed
                for view in views
                for curve in curve_of(views, view, measure, layer)
                for placed in on_axis(curve, [view], state.axis)
            )
            curves = emphasized(placed_curves, views, state.pinned)
        else:
            of_groups = state.grouping.curves(views, measure, layer, state.axis)
            curves = emphasized(of_groups, state.grouping.groups(views), state.pinned)
        if measure.per_layer and middle_layer((view.columns for view in views), measure) is not None:
            note = not_measured(layer, views, measure)
        note = unplaced(views, state.axis) or note
        return ChartData(
            title,
            (*curves, *(overlay(measure.key, views, state, layer) if state.axis == "step" else ())),
            vlines(views, state),
            hlines(views, measure),
            log_y=measure.log,
            x_name=AXES[state.axis],
            note=note,
            falling=state.axis == "loss",
            better=measure.better,
        )


class _Panels(dict[str, Panel]):
    """Panels that include those of logged metrics (`bncore.measures.logged`), which are not listed here."""

    def __missing__(self, key: str) -> Panel:
        measure = measure_of(key)
        if measure is None:
            raise KeyError(key)
        return Panel(measure)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and measure_of(key) is not None


PANELS: dict[str, Panel] = _Panels({key: Panel(measure) for key, measure in MEASURES.items()})
"""All panels by key, in the order of the picker."""


def logged_keys(views: Sequence[RunView]) -> list[str]:
    """Keys of the charts for metrics that these runs log."""
    names = dict.fromkeys(name for view in views for name in view.columns.fields(LOG))
    return [logged(name).key for name in names if name not in ("seq", "t")]


FIRST = ("loss", "test_accuracy", "ics_l2", "loss_band", "gradient_predictiveness", "beta")
"""Keys of the default charts."""
FIRST_OF_REGRESSION = ("loss", "test_loss", "ics_l2", "loss_band", "gradient_predictiveness", "beta")
"""Keys of the default charts for runs without an accuracy."""


def first_panels(views: Sequence[RunView]) -> tuple[str, ...]:
    """Keys of the default charts for these runs."""
    specs = [view.spec for view in views if view.spec]
    regression = bool(specs) and all(spec.loss.kind == "squared_error" for spec in specs)
    return FIRST_OF_REGRESSION if regression else FIRST
