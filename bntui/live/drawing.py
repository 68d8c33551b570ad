"""Common parts of all charts besides the curves: titles, layers, reference lines, marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bncore.config.errors import escape_control
from bncore.config.measure import Measure
from bncore.figure import Curve, Floats, HLine, VLine
from bncore.follow.groups import Group, is_going
from bncore.follow.run_view import RunView
from bncore.measures import MEASURES
from bncore.store.machine_log import MACHINE
from bncore.store.measured import layers_of, middle_layer, reference_lines
from bntui.live.axes import Axis
from bntui.live.grouping import Grouping
from bntui.live.marks import Request, marks

FAILED = frozenset({"failed", "diverged"})
"""States of runs that are not used in comparisons."""
BY_TABLE = {one.table: one for one in reversed(MEASURES.values()) if one.per_layer}
"""One per-layer measure for each table, by table."""


@dataclass(frozen=True)
class PanelState:
    """The person's choices that affect what panels show."""

    layer: int | None = None
    """Layer number, from 1, as in the figures; None: chosen by `chosen_layer`."""
    step: float | None = None
    """Step of the crosshair; None: the newest measurement."""
    reference: Path | None = None
    """Folder of the paper's curves to draw as well; None: none."""
    grouping: Grouping | None = None
    """How runs are grouped; None: single runs."""
    axis: Axis = "step"
    """X axis of measures over steps."""
    pinned: Path | None = None
    """Directory of the run that is drawn bold with its group: the reference, or without colors the selected."""
    numbers: Mapping[Request, int] = field(default_factory=dict)
    """Numbers shown at marks instead of their texts; empty: texts."""
    hide_marks: bool = False
    figure: str = ""
    """Figure of the paper that the runs reproduce, as in `SweepView.figure`."""


def as_drawn(measure: Measure, views: Sequence[RunView], state: PanelState) -> tuple[Measure, str]:
    """The measure and its title. Beside the paper's curves, this is the paper's own variant of the measure if
    every run has measured it."""
    paper = measure.in_paper
    if paper is None:
        return measure, measure.title
    beside_paper = state.reference is not None
    if beside_paper and all(paper.field in view.columns.fields(paper.table) for view in views):
        measure = paper
    has_symbol = measure.symbol in measure.title
    return measure, measure.title if has_symbol else f"{measure.title} {measure.symbol}"


def emphasized(
    curves: Iterable[Curve], owners: Iterable[Group | RunView], pinned: Path | None
) -> tuple[Curve, ...]:
    """The curves, with those of the pinned run or its group in bold.

    Arguments:
        owners: groups or runs that the curves belong to, by style.
    """
    bold = {
        one.style
        for one in owners
        if any(view.run.path == pinned for view in (one.runs if isinstance(one, Group) else (one,)))
    }
    return tuple(
        replace(curve, bold=True) if curve.style in bold and not curve.faint else curve for curve in curves
    )


def hlines(views: Sequence[RunView], measure: Measure) -> tuple[HLine, ...]:
    """Reference lines of a measure, for all runs."""
    return reference_lines(((view.columns, view.submitted) for view in views), measure)


def vlines(views: Sequence[RunView], state: PanelState) -> tuple[VLine, ...]:
    """Marks of events, and of runs leaving their groups."""
    if state.hide_marks:
        return ()
    left = state.grouping.departures(views, state.axis) if state.grouping else ()
    left = tuple(replace(line, text="") for line in left) if state.numbers else left
    groups = state.grouping.groups(views) if state.grouping and views else ()
    return (*marks(views, state.axis, state.numbers, groups), *left)


def measured_layers(view: RunView) -> list[set[int]]:
    """Layer numbers measured by each of a run's per-layer instruments, without instruments that measured none."""
    return [set(numbers) for one in BY_TABLE.values() if (numbers := layers_of(view.columns, one))]


def chosen_layer(views: Sequence[RunView], measure: Measure, state: PanelState) -> int | None:
    """The layer to draw: the chosen one; else the middle one of the layers that all instruments measured, in the
    first run with any; else the middle one of the layers of this measure."""
    if state.layer is not None:
        return state.layer
    measured = next((by_instrument for view in views if (by_instrument := measured_layers(view))), [])
    common = sorted(set.intersection(*measured)) if measured else []
    middle = common[len(common) // 2] if common else None
    has_middle = any(middle in layers_of(view.columns, measure) for view in views)
    return middle if has_middle else middle_layer((view.columns for view in views), measure)


def not_measured(layer: int | None, views: Sequence[RunView], measure: Measure) -> str:
    """Note for a layer without data: which layers were measured."""
    measured = sorted({number for view in views for number in layers_of(view.columns, measure)})
    which = ", ".join(map(str, measured)) if len(measured) < 8 else f"{measured[0]} to {measured[-1]}"
    return f"layer {layer} was not measured, but {which}"


def layer_title(views: Sequence[RunView], layer: int | None) -> str:
    """``layer 9 of 13, features.8``, or ``no layer``; count and name appear only if all runs' networks agree."""
    if layer is None:
        return "no layer"
    counts = {_depth(view) for view in views} - {0}
    of = f" of {counts.pop()}" if len(counts) == 1 else ""
    return f"layer {layer}{of}" + "".join(f", {name}" for name in layer_names(views)[layer - 1 : layer])


def layer_names(views: Sequence[RunView]) -> tuple[str, ...]:
    """Layer names of the runs' networks; empty unless all agree."""
    names = {view.layer_names for view in views}
    return names.pop() if len(names) == 1 else ()


def _depth(view: RunView) -> int:
    """Number of layers of the run's network, as far as known."""
    measured = max(set[int]().union(*measured_layers(view)), default=0)
    return max(len(view.layer_names), view.submitted.net.layers if view.submitted else 0, measured)


def row_at(steps: Floats, step: float | None) -> int:
    """Index of the newest row at or before `step`, or the first row if all are later; None: the newest row."""
    if step is None:
        return len(steps) - 1
    return max(0, int(np.searchsorted(steps, step, side="right")) - 1)


def why_empty(views: Sequence[RunView], measure: Measure) -> str:
    """Note for a chart without data: why nothing was measured."""
    table = measure.table
    if not views:
        return "no runs"
    measured = [view.columns.fields(table) for view in views if len(view.columns.series(table, "t")) > 1]
    if measured and not any(measure.field in fields for fields in measured):
        return "not recorded"
    probe = table.removeprefix("probe:")
    going = any(map(is_going, views))
    if table == MACHINE:
        return "not recorded"
    if probe == table:
        what = "evaluation" if table == "eval" else "steps"
        return f"no {what} yet" if going else f"no {what} recorded"
    for view in views:
        failed = [event for event in view.columns.events if event["type"] == "probe_failed"]
        for event in reversed(failed):
            if event.get("name") == probe:
                return escape_control(f"{probe} failed at step {event['step']}: {event.get('reason', '')}")
    cadences = [getattr(view.spec.probes, probe, None) for view in views if view.spec]
    if cadences and all(cadence is not None and not cadence.every for cadence in cadences):
        return f"{probe} is off: probes.{probe}.every=100 switches it on"
    return f"no measurement of {probe} yet" if going else f"{probe} was not recorded"
