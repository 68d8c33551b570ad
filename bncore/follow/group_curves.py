"""Groups of runs as curves: the mean of each, in its band."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import numpy as np

from bncore.aggregate import BANDS, Aggregate, Member, aggregate
from bncore.config.measure import Band, Measure
from bncore.figure import Curve, Floats
from bncore.follow.groups import Group, members
from bncore.store.measured import Points, floor_of, held, take


def group_curves(
    group: Group,
    measure: Measure,
    layer: int | None,
    band: Band,
    *,
    known: Callable[[Measure], Aggregate] | None = None,
    with_runs: bool = False,
) -> Iterator[Curve]:
    """A group's mean in its band; of a measure that is a band itself, that of its edges.

    Arguments:
        known: how the group's aggregate of a measure is come by; None: it is computed.
        with_runs: whether the runs are drawn faintly behind their mean.
    """

    def of(one: Measure) -> Aggregate:
        return known(one) if known else aggregate(members(group, one, layer), band, log=one.log)

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


def _parts(curve: Curve, mean: Aggregate) -> Iterator[Curve]:
    """The curve in parts that are the mean of equally many runs, each of which says of how many; faintly where
    runs that are going have not come yet."""
    ends = np.flatnonzero(np.diff(np.where(mean.complete, mean.present, -mean.present))) + 1
    for part in np.split(np.arange(len(curve.x)), ends):
        if len(part):
            weight: Literal["main", "faint"] = "main" if mean.complete[part[0]] else "faint"
            low = curve.low[part]
            yield replace(
                curve,
                label=f"{curve.label} ×{int(mean.count[part].max())}",
                x=curve.x[part],
                low=low,
                high=low if curve.is_line else curve.high[part],
                floor=None if curve.floor is None else curve.floor[part],
                weight=weight,
            )


def _floor(group: Group, mean: Aggregate, measure: Measure, layer: int | None) -> Floats | None:
    """(n,) The runs' mean noise floor; None where a run has none."""
    found = [floor_of(view.columns, measure, layer) for view in group.runs]
    floors = [floor for floor in found if floor is not None and len(floor.x)]
    if len(floors) < len(group.runs):
        return None
    floor = aggregate([Member(one.x, one.y) for one in floors], "range", log=measure.log)
    return held(Points(floor.x, floor.mean), mean.x)
