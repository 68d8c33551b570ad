"""A measure of one run: its values by step or layer, the reference lines beside them (including stability
thresholds for journals that lack them), and the histograms of a layer's output."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from bncore.config.measure import Measure
from bncore.config.model import Spec
from bncore.config.stability import stability_threshold, threshold_label
from bncore.figure import Floats, HLine
from bncore.store.columns import Columns


@dataclass(frozen=True)
class Points:
    """One measure of one run; for one layer, if the measure is per layer."""

    x: Floats  # (n,) steps
    y: Floats  # (n,)


@dataclass(frozen=True)
class Best:
    """The best value of a measure, and the first step at which it occurs."""

    value: float
    step: int


EMPTY = Points(np.empty(0), np.empty(0))


def take(
    columns: Columns, measure: Measure, layer: int | None = None, multiple: float | None = None
) -> Points:
    """A measure by step, or the lower edge of a band; empty if the run has no values of it for that layer or step
    length.

    Arguments:
        multiple: step length as a multiple of the learning rate, for measures per step length.
    """
    steps, values = rows(columns, measure)
    if measure.per == "length":
        at = columns.series(measure.table, "multiples").values == multiple
        if values.ndim != 2 or at.shape != values.shape:
            return EMPTY
        return Points(steps[at.any(axis=1)], values[at])
    if measure.per_layer:
        numbers = numbers_of_layers(columns, measure.table, values) if values.ndim > 1 else []
        if layer not in numbers:
            return EMPTY
        values = values[:, numbers.index(layer)]
    return Points(steps, values) if values.ndim == 1 else EMPTY


def best_of(points: Points, measure: Measure) -> Best | None:
    """The best of the finite values; None if there are none, or if the measure has no better direction."""
    finite = np.flatnonzero(np.isfinite(points.y))
    if not measure.better or not len(finite):
        return None
    values = points.y[finite]
    at = finite[values.argmax() if measure.better == "higher" else values.argmin()]
    return Best(float(points.y[at]), int(points.x[at]))


def upper(columns: Columns, measure: Measure, layer: int | None = None) -> Points | None:
    """The upper edge of a band; None if the measure is not a band."""
    return take(columns, replace(measure, field=measure.high), layer) if measure.high else None


def floor_of(columns: Columns, measure: Measure, layer: int | None = None) -> Points | None:
    """The noise floor at the steps where it was measured, in the measure's unit; None if there is none."""
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


def last_at(line: Points, x: Floats) -> Floats | None:
    """The line's last value at or before each x, NaN before its first point; None if the line is empty."""
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
    """Numbers of the layers for which a per-layer measure has values, in order."""
    values = columns.series(measure.table, measure.field).values
    return numbers_of_layers(columns, measure.table, values) if values.ndim > 1 else []


def numbers_of_layers(columns: Columns, table: str, values: Floats) -> list[int]:
    """Number of each layer of per-layer values (n, layers, …), from 1 where the journal names none."""
    named = columns.series(table, "layers").values
    if named.ndim == 2 and named.shape[1] == values.shape[1]:
        return [int(number) for number in named[-1]]
    return list(range(1, values.shape[1] + 1))


def multiples_of(columns: Columns, measure: Measure) -> set[float]:
    """Step lengths for which a measure has values, as multiples of the learning rate."""
    return set(columns.series(measure.table, "multiples").values.ravel().tolist())


def middle_layer(runs: Iterable[Columns], measure: Measure) -> int | None:
    """The middle layer among those measured by the first run that measured any; None if no run did."""
    measured = next((numbers for columns in runs if (numbers := layers_of(columns, measure))), None)
    return measured[len(measured) // 2] if measured else None


HISTOGRAMS = "probe:activations"
"""Table of the histograms of layers' outputs."""


def layer_histograms(columns: Columns, layer: int | None) -> tuple[Floats, Floats, Floats, Floats]:
    """Histograms of a layer's output, for the measurements that can be drawn.

    Arguments:
        layer: its number, from 1.

    Returns:
        Steps (n,), counts (n, bins), left edge of the first bin (n,), and bin width (n,); n = 0 if the layer was
        not measured.
    """
    counts, low, width = (
        columns.series(HISTOGRAMS, name).values for name in ("counts", "bin_low", "bin_width")
    )
    nothing = np.empty(0), np.empty((0, 0)), np.empty(0), np.empty(0)
    if not counts.size or counts.ndim != 3 or not low.shape == width.shape == counts.shape[:2]:
        return nothing
    numbers = numbers_of_layers(columns, HISTOGRAMS, counts)
    if layer not in numbers:
        return nothing
    counts, low, width = (values[:, numbers.index(layer)] for values in (counts, low, width))
    valid = np.isfinite(low) & np.isfinite(width) & (width > 0) & np.isfinite(counts).all(axis=1)
    valid &= counts.sum(axis=1) > 0
    steps = columns.series(HISTOGRAMS, "counts").steps.astype(np.float64)
    return steps[valid], counts[valid], low[valid], width[valid]


Measured = tuple[Columns, Spec | None]
"""A run's columns, and its spec if known."""


def thresholds(columns: Columns, table: str, spec: Spec | None) -> tuple[Floats, Floats]:
    """Steps and stability thresholds of the measurements of ``probe:landscape`` or ``probe:sharpness``; NaN if the
    optimizer has none.

    Journals written before the field `stability_threshold` existed give only 2/lr; the threshold is computed from
    that and the spec.

    Arguments:
        spec: the run's spec; None: unknown, so 2/lr serves as the threshold of measurements that lack one.
    """
    two_over_lr = columns.series(table, "two_over_lr")
    journaled = columns.series(table, "stability_threshold")
    steps, values = two_over_lr.steps, np.array(two_over_lr.values, dtype=np.float64)
    if values.ndim != 1:
        return np.empty(0), np.empty(0)
    if spec is not None and len(journaled) < len(values):
        penalized = table == "probe:landscape" and spec.probes.landscape.penalty
        values = np.array([stability_threshold(spec.optim, 2 / two, penalized=penalized) for two in values])
    covered = np.isin(steps, journaled.steps)
    values[covered] = journaled.values[np.isin(journaled.steps, steps)]
    return steps.astype(np.float64), values


def reference_lines(runs: Iterable[Measured], measure: Measure) -> tuple[HLine, ...]:
    """Reference lines of a measure at the runs' newest rows.

    Values within a relative 1e-3, such as thresholds that differ only by the weight decay's share, become one line
    with all their labels.
    """
    texts: dict[float, list[str]] = {}
    for y, text in (line for columns, spec in runs for line in _lines(columns, measure, spec)):
        near = next((other for other in texts if abs(other - y) <= 1e-3 * abs(other)), y)
        if text not in texts.setdefault(near, []):
            texts[near].append(text)
    return tuple(HLine(y, " = ".join(names)) for y, names in texts.items())


def _lines(columns: Columns, measure: Measure, spec: Spec | None) -> list[tuple[float, str]]:
    """Value and label of each reference line that the run has."""
    lines = []
    newest = columns.series(measure.table, "two_over_lr").values
    lr = lr_of(float(newest[-1])) if newest.ndim == 1 and len(newest) else None
    for line in measure.lines:
        at_edge = line.field == "stability_threshold"
        if at_edge:
            values = thresholds(columns, measure.table, spec)[1]
        else:
            values = columns.series(measure.table, line.field).values
        value = float(values[-1]) if values.ndim == 1 and len(values) else np.nan
        if not 0 < value < np.inf or (lr is None and (at_edge or line.times_lr)):
            continue
        if line.times_lr and lr:
            value = float(f"{value * lr:.3g}")
            lines.append((value, f"{value:.3g}, {line.label}"))
        else:
            lines.append((value, threshold_label(value, 2 / lr) if at_edge and lr else line.label))
    return lines


def lr_of(two_over_lr: float) -> float | None:
    """The learning rate given by a probe's `two_over_lr`; None if that is not a finite positive number."""
    return 2 / two_over_lr if np.isfinite(two_over_lr) and two_over_lr > 0 else None
