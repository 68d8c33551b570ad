"""From runs to curves: what every panel is made with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bncore.config.errors import escape_control
from bncore.figure import ChartData, Curve, VLine
from bncore.follow.run_view import RunView
from bncore.store.columns import Columns

Floats = NDArray[np.float64]

MARKED = frozenset({"set", "note"})
"""Kinds of requests that are marked in charts: the others change no curve."""


@dataclass(frozen=True)
class PanelState:
    """What a person chose that changes what panels show."""

    layer: int | None = None
    """Number of the layer, from 1, as in the figures; None: the middle one of those measured."""
    step: float | None = None
    """Where the crosshair stands; None: the newest measurement."""
    reference: Path | None = None
    """Folder of the paper's curves, to be drawn too; None: not."""
    figure: str = ""
    """The figure of the paper that the runs are of, as `SweepView.figure` tells it."""


@dataclass(frozen=True)
class Panel:
    """One chart that can be asked for."""

    key: str
    title: str
    make: Callable[[Sequence[RunView], PanelState], ChartData]


@dataclass(frozen=True)
class Measure:
    """One field of a table, a number a row or a number for each layer."""

    table: str
    field: str
    per_layer: bool = False
    over: str = ""
    """Another field of the table that it is divided by."""


@dataclass(frozen=True)
class Line:
    """One measure of one run, for one layer if it is per layer."""

    x: Floats  # (n,) steps
    y: Floats  # (n,)


def curve_of(
    views: Sequence[RunView],
    view: RunView,
    low: Line,
    high: Line | None = None,
    floor: Line | None = None,
) -> Iterator[Curve]:
    """A run's curve, or the band between two; of a fork before it also its parent's, faintly, unless that run is
    drawn itself.

    Arguments:
        views: everything that is drawn.
        floor: the noise floor, at the steps it was measured at; each holds up to the next.
    """
    if not len(low.x) or (high is not None and len(high.x) != len(low.x)):
        return
    first = view.columns.parent[1] if view.columns.parent else 0
    cut = int(np.searchsorted(low.x, first))
    if cut and not any(_is_parent(other, view) for other in views):
        y = low.y[:cut]
        parent = escape_control(view.parent.name) if view.parent else f"{view.name}, its parent"
        yield Curve(parent, view.style, low.x[:cut], y, y if high is None else high.y[:cut], weight="faint")
    if cut < len(low.x):
        own = low.y[cut:]
        yield Curve(
            view.name,
            view.style,
            low.x[cut:],
            own,
            own if high is None else high.y[cut:],
            floor=None if floor is None else held(floor, low.x[cut:]),
            diverged=view.state == "diverged",
        )


def take(columns: Columns, measure: Measure, layer: int | None = None) -> Line:
    """A measure over the steps; empty where there is none, or none of that layer."""
    steps, values = rows(columns, measure)
    if measure.per_layer:
        numbers = layers_of(columns, measure)
        if layer not in numbers:
            return Line(np.empty(0), np.empty(0))
        values = values[:, numbers.index(layer)]
    elif values.ndim != 1:
        return Line(np.empty(0), np.empty(0))
    return Line(steps, values)


def rows(columns: Columns, measure: Measure) -> tuple[Floats, Floats]:
    """Steps (n,) and values (n,) or (n, layers) of a measure."""
    series = columns.series(measure.table, measure.field)
    values = series.values
    if measure.over:
        divisor = columns.series(measure.table, measure.over).values
        if divisor.shape != values.shape:
            return np.empty(0), np.empty(0)
        with np.errstate(all="ignore"):
            values = values / divisor
    return series.steps.astype(np.float64), values


def layers_of(columns: Columns, measure: Measure) -> list[int]:
    """Numbers of the layers that a per-layer measure has values of, in their order."""
    values = columns.series(measure.table, measure.field).values
    if values.ndim < 2:
        return []
    named = columns.series(measure.table, "layers").values
    if named.ndim == 2 and named.shape[1] == values.shape[1]:
        return [int(number) for number in named[-1]]
    return list(range(1, values.shape[1] + 1))


def chosen_layer(views: Sequence[RunView], measure: Measure, state: PanelState) -> int | None:
    """The layer to draw: the chosen one, else the middle one of the first run that measured any."""
    if state.layer is not None:
        return state.layer
    measured = next((found for view in views if (found := layers_of(view.columns, measure))), None)
    return measured[len(measured) // 2] if measured else None


def layer_title(views: Sequence[RunView], measure: Measure, layer: int | None) -> str:
    """``layer 9 of 13``, or ``no layer``."""
    last = max((n for view in views for n in layers_of(view.columns, measure)), default=None)
    if layer is None:
        return "no layer"
    return f"layer {layer}" if last is None else f"layer {layer} of {last}"


def row_at(steps: Floats, step: float | None) -> int:
    """The newest row at or before `step`, the first where all are later; the newest of all for None."""
    if step is None:
        return len(steps) - 1
    return max(0, int(np.searchsorted(steps, step, side="right")) - 1)


def held(line: Line, x: Floats) -> Floats | None:
    """A line's value at or before each x, NaN before its first; None where it is empty."""
    if not len(line.x):
        return None
    at = np.searchsorted(line.x, x, side="right") - 1
    return np.where(at >= 0, line.y[np.maximum(at, 0)], np.nan)


def marks(views: Sequence[RunView]) -> tuple[VLine, ...]:
    """The requests that were applied, one mark for those that are the same of several runs at one step."""
    found: dict[tuple[int, str], int | None] = {}
    for view in views:
        for request in view.requests:
            if request.outcome == "applied" and request.kind in MARKED and request.step is not None:
                key = (request.step, request.summary)
                found[key] = None if key in found else view.style
    return tuple(
        VLine(float(step), f"{text} @{step:,}", style) for (step, text), style in sorted(found.items())
    )


def why_empty(views: Sequence[RunView], table: str) -> str:
    """What to say where nothing was measured."""
    if not views:
        return "no runs"
    probe = table.removeprefix("probe:")
    if probe == table:
        return "no evaluation yet" if table == "eval" else "no steps yet"
    for view in views:
        failed = [event for event in view.columns.events if event["type"] == "probe_failed"]
        for event in reversed(failed):
            if event.get("name") == probe:
                return escape_control(f"{probe} failed at step {event['step']}: {event.get('reason', '')}")
    cadences = [getattr(view.spec.probes, probe, None) for view in views if view.spec]
    if cadences and all(cadence is not None and not cadence.every for cadence in cadences):
        return f"{probe} is off: probes.{probe}.every=100 switches it on"
    return f"no measurement of {probe} yet"


def _is_parent(other: RunView, view: RunView) -> bool:
    return (
        view.parent is not None
        and other.run.path.name == view.parent.name
        and other.run.path.parent.resolve() == view.parent.parent.resolve()
    )
