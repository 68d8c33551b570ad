"""A measure of one run: its values, over the steps or the layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from bncore.config.measure import Measure
from bncore.figure import Floats
from bncore.store.columns import Columns


@dataclass(frozen=True)
class Points:
    """One measure of one run, for one layer if it is per layer."""

    x: Floats  # (n,) steps
    y: Floats  # (n,)


@dataclass(frozen=True)
class Best:
    """The best value of a measure, and the first step that has it."""

    value: float
    step: int


EMPTY = Points(np.empty(0), np.empty(0))


def take(columns: Columns, measure: Measure, layer: int | None = None) -> Points:
    """A measure over the steps, of a band its lower edge; empty where there is none, or none of that layer."""
    steps, values = rows(columns, measure)
    if measure.per_layer:
        numbers = layers_of(columns, measure)
        if layer not in numbers:
            return EMPTY
        values = values[:, numbers.index(layer)]
    return Points(steps, values) if values.ndim == 1 else EMPTY


def best_of(points: Points, measure: Measure) -> Best | None:
    """The best of the finite values; None where there is none, or no way is better."""
    known = np.flatnonzero(np.isfinite(points.y))
    if not measure.better or not len(known):
        return None
    values = points.y[known]
    at = known[values.argmax() if measure.better == "higher" else values.argmin()]
    return Best(float(points.y[at]), int(points.x[at]))


def upper(columns: Columns, measure: Measure, layer: int | None = None) -> Points | None:
    """The upper edge of a band; None of what is no band."""
    return take(columns, replace(measure, field=measure.high), layer) if measure.high else None


def floor_of(columns: Columns, measure: Measure, layer: int | None = None) -> Points | None:
    """The noise floor, at the steps it was measured at and in the measure's unit; None where there is none."""
    if not measure.floor:
        return None
    floor = take(columns, replace(measure, field=measure.floor), layer)
    if not measure.floor_unit:
        return floor
    own = take(columns, measure, layer)
    unit = take(columns, replace(measure, field=measure.floor_unit), layer)
    at = np.isin(own.x, floor.x)
    if len(own.x) != len(unit.x) or int(at.sum()) != len(floor.x):
        return None
    with np.errstate(all="ignore"):
        return Points(floor.x, floor.y * own.y[at] / unit.y[at])


def held(line: Points, x: Floats) -> Floats | None:
    """A line's value at or before each x, NaN before its first; None where it is empty."""
    if not len(line.x):
        return None
    at = np.searchsorted(line.x, x, side="right") - 1
    return np.where(at >= 0, line.y[np.maximum(at, 0)], np.nan)


def rows(columns: Columns, measure: Measure) -> tuple[Floats, Floats]:
    """Steps (n,) and values (n,), (n, layers) or (n, lengths) of a measure."""
    series = columns.series(measure.table, measure.field)
    values = series.values
    if measure.over:
        divisor = columns.series(measure.table, measure.over).values
        if divisor.shape != values.shape:
            return EMPTY.x, EMPTY.y
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


def middle_layer(runs: Iterable[Columns], measure: Measure) -> int | None:
    """The middle one of the layers that the first run to have any measured; None where none has."""
    measured = next((found for columns in runs if (found := layers_of(columns, measure))), None)
    return measured[len(measured) // 2] if measured else None
