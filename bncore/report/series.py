"""Conversion of runs to the curves of a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bncore.aggregate import BANDS
from bncore.config.measure import Measure
from bncore.figure import Curve, Floats, Ridge, VLine
from bncore.follow.groups import Group, departures, group_curves
from bncore.report.comparison_group import Presentation
from bncore.report.paper import PaperCurve
from bncore.report.quantities import as_in_the_paper, rows
from bncore.report.report_run import ReportRun, Variant
from bncore.store.columns import Columns
from bncore.store.measured import layer_histograms, layers_of, take, upper

MOST_POINTS = 120
"""Most points per curve; in a longer curve each point is the mean of a fixed number of neighbors."""
RIDGES = 6
"""Most distributions shown per layer."""
LENGTH_STEPS = 5
"""Most measurements shown over step length."""
RANGE = "from the least to the greatest seed"
"""Label of a band beside one of the paper's curves."""


@dataclass(frozen=True)
class DrawnMeasure:
    """What a panel draws for each run."""

    measure: Measure
    layer: int | None = None
    """Layer number, from 1, for a per-layer measure."""
    change: str = ""
    """``step`` for the absolute difference from the previous measurement, ``start`` for the difference from the
    first; empty for the values themselves."""


Line = tuple[Floats, Floats, Floats]
"""x, low and high, each (n,)."""


def line_of(columns: Columns, drawn: DrawnMeasure) -> Line | None:
    """A run's measure over steps; None if it was not measured."""
    points = take(columns, drawn.measure, drawn.layer)
    x, low = points.x, points.y
    if not len(x):
        return None
    if drawn.change:
        x, low = (x[1:], np.abs(np.diff(low))) if drawn.change == "step" else (x, low - low[0])
    high = upper(columns, drawn.measure, drawn.layer)
    if high is None:
        return x, low, low
    return (x, low, high.y) if len(high.x) == len(x) else None


def layer_near(runs: Sequence[ReportRun], measure: Measure, wanted: int, depth: int) -> int | None:
    """The layer to show where the paper's figure shows layer `wanted` of `depth`: the same number if it was
    measured, else the measured layer at the nearest relative depth. None if no layer was measured."""
    for run in runs:
        numbers = layers_of(run.columns, measure)
        if numbers:
            if wanted in numbers:
                return wanted
            last = max(numbers)
            return min(numbers, key=lambda number: abs(number / last - wanted / depth))
    return None


def curves_of(group: Group, drawn: DrawnMeasure, presentation: Presentation) -> list[Curve]:
    """The curves of a group of runs: their mean with its band, or each run separately."""
    lines = [(view, line) for view in group.runs if (line := line_of(view.columns, drawn)) is not None]
    if drawn.change:  # the units of different seeds do not correspond
        lines = lines[:1]
    if len(lines) > 1 and not presentation.single:
        measured = replace(group, runs=tuple(view for view, _ in lines))
        band = presentation.band or "interval"
        curves = [*map(_thinned, group_curves(measured, drawn.measure, drawn.layer, band))]
        gone = all(view.state == "diverged" for view in measured.runs)
        return [*curves[:-1], *(replace(one, diverged=gone) for one in curves[-1:])]
    names = [f"{group.name}, seed {view.seed}" if len(lines) > 1 else group.name for view, _ in lines]
    return [
        _thinned(Curve(name, group.style, *line, diverged=view.state == "diverged"))
        for name, (view, line) in zip(names, lines, strict=True)
    ]


def means_note(presentation: Presentation) -> str:
    """A note that explains how several runs are drawn."""
    if presentation.single:
        return "Each run is drawn separately."
    band = BANDS[presentation.band or "interval"]
    return (
        "Lines are means over runs, geometric on a logarithmic axis; of a measure that is a band, of either edge. "
        f"Band: {band}."
    )


def one_per_seed(runs: Mapping[int, Sequence[ReportRun]], drawn: DrawnMeasure) -> list[ReportRun]:
    """One run per seed that measured it, preferably as in the paper; in order of seed."""
    chosen = []
    for _, ones in sorted(runs.items()):
        usual_first = sorted(ones, key=lambda run: not as_in_the_paper(run, drawn.measure.table))
        chosen += [run for run in usual_first if line_of(run.columns, drawn) is not None][:1]
    return chosen


def departure_marks(group: Group) -> Iterator[VLine]:
    """Marks where the mean of a group continues without one of its runs."""
    for left in departures(group) if len(group.runs) > 1 else ():
        yield VLine(left.step, f"{left.run.run.path.name} {left.why} @{left.step:,}", group.style)


def with_range(curves: Sequence[Curve], x: Floats, low: Floats, high: Floats) -> list[Curve]:
    """A variant's curves with the range of its seeds in place of their band."""
    if not curves:
        return []
    band = replace(
        curves[-1], label=RANGE, x=x, low=low, high=high, floor=None, diverged=False, weight="spread"
    )
    return [band, *(one for one in curves if one.weight != "spread")]


def paper_curves(curves: Sequence[PaperCurve], styles: Mapping[Variant, int], end: float) -> list[Curve]:
    """The paper's curves of the variants shown, cut off at step `end`."""
    shown = []
    for curve in curves:
        alike = (styles[v] for v in styles if curve.shows(v.norm, v.lr, noisy=bool(v.noise)))
        style = next(alike, None)
        if style is not None:
            shown.append(curve.drawn(style, "paper", end))
    return [curve for curve in shown if len(curve.x) > 1]


def at_lengths(run: ReportRun, name: str) -> tuple[Floats, Floats, Floats]:
    """A field of the landscape probe that has one value per step length: steps (n,), lengths and values
    (n, lengths). All are empty if it was not measured this way."""
    steps, multiples = rows(run, "probe:landscape", "multiples")
    _, values = rows(run, "probe:landscape", name)
    _, two_over_lr = rows(run, "probe:landscape", "two_over_lr")
    if values.ndim != 2 or multiples.shape != values.shape or len(two_over_lr) != len(values):
        return np.empty(0), np.empty((0, 0)), np.empty((0, 0))
    return steps, multiples * 2 / two_over_lr[:, None], values


def by_length(run: ReportRun, style: int, name: str) -> list[Curve]:
    """A field of the landscape probe over the step length a, at a selection of its measurements."""
    steps, lengths, values = at_lengths(run, name)
    curves = []
    chosen = _spread(len(steps), LENGTH_STEPS)
    for index, row in enumerate(chosen):
        order = np.argsort(lengths[row])
        x, y = lengths[row][order], values[row][order]
        opacity = 0.3 + 0.7 * (index + 1) / len(chosen)
        label = f"step {int(steps[row]):,}"
        curves.append(Curve(label, style, x, y, y, opacity=opacity))
    return curves


def ridges_of(run: ReportRun, style: int, layer: int) -> list[Ridge]:
    """A layer's distributions at a selection of measurements, the first at the bottom."""
    steps, counts, low, width = layer_histograms(run.columns, layer)
    ridges = []
    for row in _spread(len(steps), RIDGES):
        count, first, wide = counts[row], low[row], width[row]
        occupied = np.flatnonzero(count > min(count.sum() * 5e-4, count.max() / 2))
        start, end = int(occupied[0]), int(occupied[-1]) + 1
        edges = first + wide * np.arange(start, end + 1)
        density = count[start:end] / count.sum() / wide
        ridges.append(Ridge(f"{int(steps[row]):,}", edges, density, style))
    return ridges


def _thinned(curve: Curve) -> Curve:
    """The curve with neighboring points averaged; the edges of a band-valued measure become the extremes of their
    neighbors."""
    count = -(-len(curve.x) // MOST_POINTS)
    if count <= 1:
        return curve
    starts = np.arange(0, len(curve.x), count)
    sizes = np.diff(np.append(starts, len(curve.x)))

    def averaged(values: Floats) -> Floats:
        return np.asarray(np.add.reduceat(values, starts) / sizes)

    x, low = averaged(curve.x), averaged(curve.low)
    if curve.is_line:
        floor = None if curve.floor is None else averaged(curve.floor)
        return replace(curve, x=x, low=low, high=low, floor=floor)
    if curve.weight == "spread":
        return replace(curve, x=x, low=low, high=averaged(curve.high))
    low, high = np.fmin.reduceat(curve.low, starts), np.fmax.reduceat(curve.high, starts)
    return replace(curve, x=x, low=low, high=high)


def _spread(count: int, most: int) -> list[int]:
    """Indices of at most `most` of `count` rows, including the first and the last."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, most)).round()}) if count else []
