"""Groups of runs shown as one: the seeds of a variant, or runs that share some settings. Their means and bands are
available as curves, and as tables for other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncore.aggregate import BANDS, Aggregate, Member, aggregate
from bncore.config.errors import escape_control, shown
from bncore.config.fields import dotted, leaves
from bncore.config.measure import Band, Measure
from bncore.config.model import Spec
from bncore.figure import Curve, Floats, variant_styles
from bncore.follow.request_view import SPELLING, applied_changes
from bncore.follow.run_view import RunView
from bncore.measures import MEASURES
from bncore.store.dropped_requests import changes_of
from bncore.store.machine_log import MACHINE
from bncore.store.measured import (
    Best,
    Points,
    best_of,
    floor_of,
    last_at,
    layers_of,
    multiples_of,
    take,
    upper,
)
from bncore.store.status import LIVE

OBSERVING = ("probes", "log_every", "eval", "checkpoint", "threads", "title")
"""Settings that do not affect training; changing them does not remove a run from its group's mean."""
UNGROUPED = frozenset({"seed", "title", "device", "threads"})
"""Settings in which the runs of one variant may differ."""
VARIANT = "variant"
"""Names the variant where a setting can be named."""


@dataclass(frozen=True, eq=False)
class Group:
    """Runs under a common name."""

    name: str
    """Name of the group; escaped."""
    style: int
    runs: tuple[RunView, ...]

    @cached_property
    def left(self) -> dict[Path, int]:
        """Runs changed by requests differently from other runs of the group that reached the same step: by run
        directory, the step of the first such request."""
        changes = {view.run.path: _changes(view) for view in self.runs}
        first_steps = {}
        for view in self.runs:
            mine = changes[view.run.path]
            for number, (step, _) in enumerate(mine, 1):
                others = (changes[other.run.path] for other in self.runs if other.step > step)
                if any([c for _, c in one[:number]] != [c for _, c in mine[:number]] for one in others):
                    first_steps[view.run.path] = step
                    break
        return first_steps


@dataclass(frozen=True)
class Departure:
    """A run that leaves its group's mean."""

    run: RunView
    step: int
    """First step at which the mean excludes the run."""
    why: str


def is_going(view: RunView) -> bool:
    """Whether the run has not ended yet: live or queued."""
    return view.state in (*LIVE, "queued")


def groups_of(views: Sequence[RunView], by: Sequence[str] = ()) -> tuple[Group, ...]:
    """The runs as groups, in order of each group's first run.

    Arguments:
        by: dotted paths of the settings, as submitted, and perhaps ``variant``, that all runs of a group share;
            empty: the runs of a sweep's variant form a group.
    """
    runs_by_key: dict[tuple[str, ...], list[RunView]] = {}
    several = len({view.run.path.parent for view in views}) > 1
    variants = {(view.run.sweep.name if several else "", view.variant) for view in views}
    ambiguous = len({variant for _, variant in variants}) < len(variants)
    for view in views:
        key = tuple(
            view.variant if path == VARIANT else f"{short_name(path)} {_value(view.submitted, path)}"
            for path in by
        )
        own = (view.run.sweep.name, view.variant) if several else ("", view.variant)
        runs_by_key.setdefault(key or own, []).append(view)
    variant_of = [runs[0].variant for runs in runs_by_key.values()]
    styles = range(len(runs_by_key)) if by else variant_styles(variant_of)
    groups = []
    for (key, runs), style in zip(runs_by_key.items(), styles, strict=True):
        name = ", ".join(key) if by else f"{key[0]}/{key[1]}" if ambiguous else key[1]
        groups.append(Group(name, style, tuple(runs)))
    return tuple(groups)


def styles_of(groups: Iterable[Group]) -> dict[RunView, int]:
    """The style of each run, which is that of its group."""
    return {view: group.style for group in groups for view in group.runs}


def short_name(path: str) -> str:
    """The short name of a setting: its alias, else the last part of its path."""
    return SPELLING.get(path, path.rpartition(".")[2])


def varying(views: Sequence[RunView]) -> tuple[str, ...]:
    """Dotted paths of the settings, as submitted, in which the runs differ, without those in `UNGROUPED`."""
    specs = [view.submitted for view in views if view.submitted]
    return tuple(
        path
        for path in map(dotted, leaves())
        if path not in UNGROUPED and len({repr(_at(spec, path)) for spec in specs}) > 1
    )


def departures(group: Group) -> list[Departure]:
    """Runs of the group that were changed differently from others, or that ended before the furthest one."""
    departed = []
    furthest = max((view.step for view in group.runs), default=0)
    for view in group.runs:
        step = group.left.get(view.run.path)
        if step is not None:
            departed.append(Departure(view, step, "changed"))
        elif not is_going(view) and view.step < furthest:
            departed.append(Departure(view, view.step, view.state))
    return departed


def members(
    group: Group, measure: Measure, layer: int | None = None, multiple: float | None = None
) -> list[Member]:
    """The series of the group's runs, each limited to the steps at which it counts in the mean; for a fork,
    without its parent's part."""
    series = []
    for view in group.runs:
        points = take(view.columns, measure, layer, multiple)
        first = view.columns.parent[1] if view.columns.parent else 0
        until = group.left.get(view.run.path)
        start, end = np.searchsorted(points.x, [first, np.inf if until is None else until])
        ended = until is not None or not is_going(view)
        series.append(Member(points.x[start:end], points.y[start:end], ended))
    return series


class Newest(NamedTuple):
    """The mean of the newest values, and the edges of its band."""

    runs: int
    """Number of runs that have a value and have not left the group."""
    mean: float
    low: float
    high: float


def newest(group: Group, measure: Measure, band: Band) -> Newest | None:
    """Mean and band of the newest values of the group's runs, without departed ones; None without values."""
    values = [
        value
        for view in _without_departed(group).runs
        if (value := view.newest(measure.table, measure.field)) is not None
    ]
    mean = aggregate([Member(np.zeros(1), np.array([value])) for value in values], band, log=measure.log)
    if not len(mean.x) or not mean.count[0]:
        return None
    return Newest(int(mean.count[0]), float(mean.mean[0]), float(mean.low[0]), float(mean.high[0]))


def best(group: Group, measure: Measure) -> Best | None:
    """The best value of the mean of the group's runs, without departed ones; None if there is none."""
    mean = aggregate(members(_without_departed(group), measure), "range", log=measure.log)
    return best_of(Points(mean.x[mean.complete], mean.mean[mean.complete]), measure)


def _without_departed(group: Group) -> Group:
    gone = {left.run.run.path for left in departures(group)}
    return replace(group, runs=tuple(view for view in group.runs if view.run.path not in gone))


def _changes(view: RunView) -> list[tuple[int, str]]:
    """Step and values of each request that changed the training."""
    requests = []
    for event in applied_changes(view.columns):
        changes = changes_of(event).items()
        own_changes = {key: value for key, value in changes if key.partition(".")[0] not in OBSERVING}
        if own_changes:
            requests.append((int(event["step"]), repr(sorted(own_changes.items()))))
    return requests


def _value(spec: Spec | None, path: str) -> str:
    """A setting's value as a user would type it; a dash if the spec has no such setting."""
    match value := _at(spec, path):
        case None:
            return "-"
        case str():
            return escape_control(value)
        case float():
            return f"{value:g}"
    return shown(value)


def _at(spec: Spec | None, path: str) -> object:
    value: object = spec
    for part in path.split("."):
        value = getattr(value, part, None)
    return value


def group_curves(
    group: Group,
    measure: Measure,
    layer: int | None,
    band: Band,
    *,
    aggregate_of: Callable[[Measure], Aggregate] | None = None,
    with_runs: bool = False,
) -> Iterator[Curve]:
    """A group's mean and its band; for a measure that is itself a band, the means of its edges. A single run is
    drawn as by `curve_of`.

    Arguments:
        aggregate_of: returns the group's aggregate of a measure, for example from a cache; None: compute it.
        with_runs: whether to draw the runs faintly behind their mean.
    """

    def of(one: Measure) -> Aggregate:
        return aggregate_of(one) if aggregate_of else aggregate(members(group, one, layer), band, log=one.log)

    if len(group.runs) == 1 and aggregate_of is None:
        for curve in curve_of(group.runs, group.runs[0], measure, layer):
            yield replace(curve, label=group.name, style=group.style)
        return
    mean = of(measure)
    if not len(mean.x):
        return
    if measure.high:
        top = of(replace(measure, field=measure.high, high=""))
        if len(top.x) == len(mean.x):
            yield from _parts(Curve(group.name, group.style, mean.x, mean.mean, top.mean), mean)
        return
    if band == "envelope":
        yield from _parts(Curve(group.name, group.style, mean.x, mean.low, mean.high), mean)
        return
    yield Curve(f"{group.name}, {BANDS[band]}", group.style, mean.x, mean.low, mean.high, weight="spread")
    if with_runs:
        for view in group.runs:
            points = take(view.columns, measure, layer)
            yield Curve(view.name, group.style, points.x, points.y, points.y, weight="faint")
    floor = _floor(group, mean, measure, layer)
    yield from _parts(Curve(group.name, group.style, mean.x, mean.mean, mean.mean, floor=floor), mean)


def curve_of(views: Sequence[RunView], view: RunView, measure: Measure, layer: int | None) -> Iterator[Curve]:
    """A run's curve or band, with its noise floor. A fork's is preceded by its parent's, faintly, unless the
    parent is drawn itself.

    Arguments:
        views: all runs drawn.
        layer: layer of a per-layer measure.
    """
    low, high = take(view.columns, measure, layer), upper(view.columns, measure, layer)
    if not len(low.x) or (high is not None and len(high.x) != len(low.x)):
        return
    whole = Curve(view.name, view.style, low.x, low.y, low.y if high is None else high.y)
    first = view.columns.parent[1] if view.columns.parent else 0
    cut = int(np.searchsorted(low.x, first))
    if cut and not any(_is_parent(other, view) for other in views):
        parent = escape_control(view.parent.name) if view.parent else f"{view.name}, its parent"
        yield replace(whole.part(slice(cut)), label=parent, weight="faint")
    if cut < len(low.x):
        floor = floor_of(view.columns, measure, layer)
        floors = None if floor is None else last_at(floor, low.x)
        yield replace(whole, floor=floors, diverged=view.state == "diverged").part(slice(cut, None))


def _is_parent(other: RunView, view: RunView) -> bool:
    return (
        view.parent is not None
        and other.run.path.name == view.parent.name
        and other.run.path.parent.resolve() == view.parent.parent.resolve()
    )


def _parts(curve: Curve, mean: Aggregate) -> Iterator[Curve]:
    """Split a curve into parts that are the mean of the same number of runs, which the label states. Parts that
    unfinished runs have not reached yet are faint."""
    ends = np.flatnonzero(np.diff(np.where(mean.complete, mean.present, -mean.present))) + 1
    for part in np.split(np.arange(len(curve.x)), ends):
        if len(part):
            label = f"{curve.label} ×{int(mean.count[part].max())}"
            yield replace(curve.part(part), label=label, weight="main" if mean.complete[part[0]] else "faint")


def _floor(group: Group, mean: Aggregate, measure: Measure, layer: int | None) -> Floats | None:
    """(n,) The mean noise floor of the runs; None if any run has none."""
    measured = [floor_of(view.columns, measure, layer) for view in group.runs]
    floors = [floor for floor in measured if floor is not None and len(floor.x)]
    if len(floors) < len(group.runs):
        return None
    floor = aggregate([Member(one.x, one.y) for one in floors], "range", log=measure.log)
    return last_at(Points(floor.x, floor.mean), mean.x)


Columns = dict[str, NDArray[Any]]


def group_tables(groups: Sequence[Group], band: Band) -> dict[str, Columns]:
    """Means and bands of the measures, by journal table: one row for each group, measure, field, layer or step
    length, and step. Machine figures are omitted, since every run records them at other steps.
    """
    parts_by_table: dict[str, list[Columns]] = {}
    for group in groups:
        for measure in MEASURES.values():
            if measure.table != MACHINE:
                parts_by_table.setdefault(measure.table, []).extend(_of_measure(group, measure, band))
    return {
        table: {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for table, parts in sorted(parts_by_table.items())
        if parts
    }


def _of_measure(group: Group, measure: Measure, band: Band) -> Iterator[Columns]:
    """Columns of one measure of a group; for a measure that is itself a band, of both its edges."""
    columns = [view.columns for view in group.runs]
    layers: Sequence[int | None] = [None]
    multiples: Sequence[float | None] = [None]
    if measure.per == "layer":
        layers = sorted({number for one in columns for number in layers_of(one, measure)})
    elif measure.per == "length":
        multiples = sorted({number for one in columns for number in multiples_of(one, measure)})
    for field in filter(None, (measure.field, measure.high)):
        for layer, multiple in product(layers, multiples):
            one = replace(measure, field=field, high="")
            mean = aggregate(members(group, one, layer, multiple), band, log=measure.log)
            if n := len(mean.x):
                yield {
                    "group": np.repeat(group.name, n),
                    "measure": np.repeat(measure.key, n),
                    "field": np.repeat(field, n),
                    "layer": np.full(n, layer, dtype=object),
                    "multiple": np.full(n, multiple, dtype=object),
                    "step": mean.x.astype(np.int64),
                    "mean": mean.mean,
                    "low": mean.low,
                    "high": mean.high,
                    "band": np.repeat(band, n),
                    "average": np.repeat("geometric" if measure.log else "arithmetic", n),
                    "runs": mean.count,
                    "complete": mean.complete,
                }
