"""From runs to the curves of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bncore.config.measure import Measure
from bncore.figure import VARIANT_STYLES, Curve, Floats, Ridge, styles_for
from bncore.report.paper import VARIANTS, PaperCurve
from bncore.report.quantities import as_in_the_paper, rows
from bncore.report.report_run import ReportRun, Variant
from bncore.store.histograms import layer_histograms
from bncore.store.measured import layers_of, take, upper

MOST_POINTS = 120
"""Of a longer curve each point is the mean of equally many neighbours; of a band, their extremes."""
RIDGES = 6
"""Distributions shown of one layer."""
LENGTH_STEPS = 5
"""Measurements shown against step length."""


class Style(NamedTuple):
    """How everything of one variant looks, in every picture."""

    color: int
    """Index into the palette."""
    dash: int = 0
    """Index into the dash patterns: the second cue."""


@dataclass(frozen=True)
class Drawn:
    """What a panel draws of a run."""

    measure: Measure
    layer: int | None = None
    """Its number, from 1, of a measure with a value for each layer."""
    change: str = ""
    """``step`` for |difference to the measurement before|, ``start`` for the difference to the first."""

    @property
    def table(self) -> str:
        """Where it is journaled."""
        return self.measure.table


Line = tuple[Floats, Floats, Floats]
"""x, low, high."""


def line_of(run: ReportRun, drawn: Drawn) -> Line | None:
    """The measure over the steps; None where the run has not measured it."""
    found = take(run.columns, drawn.measure, drawn.layer)
    x, low = found.x, found.y
    if not len(x):
        return None
    if drawn.change:
        x, low = _changes(x, low, drawn.change)
    high = upper(run.columns, drawn.measure, drawn.layer)
    if high is None:
        return x, low, low
    return (x, low, high.y) if len(high.x) == len(x) else None


def layer_near(runs: Sequence[ReportRun], measure: Measure, wanted: int, depth: int) -> int | None:
    """The number of the layer to show where a figure shows layer `wanted` of `depth`: that one where it was
    measured, else the measured one at the nearest relative depth. None where none was measured."""
    for run in runs:
        numbers = layers_of(run.columns, measure)
        if numbers:
            if wanted in numbers:
                return wanted
            last = max(numbers)
            return min(numbers, key=lambda number: abs(number / last - wanted / depth))
    return None


def curves_of(label: str, style: Style, runs: Mapping[int, Sequence[ReportRun]], drawn: Drawn) -> list[Curve]:
    """A variant's curves: each seed faintly, and their median over them; a single seed alone; of bands the
    medians of the edges."""
    found: list[tuple[ReportRun, Line]] = []
    for _, ones in sorted(runs.items()):
        usual_first = sorted(ones, key=lambda run: not as_in_the_paper(run, drawn.table))
        line = next(((run, line) for run in usual_first if (line := line_of(run, drawn)) is not None), None)
        if line is not None:
            found.append(line)
    if not found:
        return []
    if len(found) == 1 or drawn.change:  # one unit of one seed is another unit than that of another
        run, only = found[0]
        return [_curve(label, style, only, diverged=run.diverged)]
    middle = _median([line for _, line in found])
    main = _curve(label, style, middle, diverged=all(run.diverged for run, _ in found))
    if drawn.measure.high:
        return [main]
    seeds = [
        replace(_curve(label, style, line, diverged=run.diverged), weight="faint") for run, line in found
    ]
    return [*seeds, main]


def with_spread(curves: Sequence[Curve], x: Floats, low: Floats, high: Floats) -> list[Curve]:
    """A variant's curves with the range of its seeds in the place of the seeds; those that diverged stay."""
    if not curves:
        return []
    spread = replace(curves[-1], x=x, low=low, high=high, weight="spread", diverged=False)
    return [spread, *(curve for curve in curves if curve.weight == "main" or curve.diverged)]


def paper_curves(
    curves: Sequence[PaperCurve], styles: Mapping[Variant, Style], rates: Sequence[float], end: float
) -> list[Curve]:
    """The paper's curves of the variants and learning rates shown, no further than the runs go."""
    found = []
    for curve in curves:
        style = _paper_style(curve, styles, rates)
        if style is None:
            continue
        n = int(np.searchsorted(curve.x, end, side="right"))
        low = curve.low[:n]
        high = low if curve.high is curve.low else curve.high[:n]
        if n > 1:
            label = f"paper: {curve.legend}{f', {curve.setting}' if curve.setting else ''}"
            found.append(Curve(label, style.color, curve.x[:n], low, high, weight="paper"))
    return found


def at_lengths(run: ReportRun, name: str) -> tuple[Floats, Floats, Floats]:
    """Of a field of the landscape probe that has a value for each step length: the steps (n,), the lengths and the
    values (n, lengths). None of each where it was not measured so."""
    steps, multiples = rows(run, "probe:landscape", "multiples")
    _, values = rows(run, "probe:landscape", name)
    _, two_over_lr = rows(run, "probe:landscape", "two_over_lr")
    if values.ndim != 2 or multiples.shape != values.shape or len(two_over_lr) != len(values):
        return np.empty(0), np.empty((0, 0)), np.empty((0, 0))
    return steps, multiples * 2 / two_over_lr[:, None], values


def by_length(run: ReportRun, style: Style, name: str) -> list[Curve]:
    """A field of the landscape probe against the step length a, at some of its measurements."""
    steps, lengths, values = at_lengths(run, name)
    found = []
    chosen = _spread(len(steps), LENGTH_STEPS)
    for place, row in enumerate(chosen):
        order = np.argsort(lengths[row])
        x, y = lengths[row][order], values[row][order]
        opacity = 0.3 + 0.7 * (place + 1) / len(chosen)
        label = f"step {int(steps[row]):,}"
        found.append(Curve(label, style.color, x, y, y, dash=style.dash, opacity=opacity))
    return found


def ridges_of(run: ReportRun, style: Style, layer: int) -> list[Ridge]:
    """A layer's distributions at some measurements, the first at the bottom."""
    steps, counts, low, width = layer_histograms(run.columns, layer)
    found = []
    for row in _spread(len(steps), RIDGES):
        count, first, wide = counts[row], low[row], width[row]
        held = np.flatnonzero(count > count.sum() * 5e-4)
        start, end = int(held[0]), int(held[-1]) + 1
        edges = first + wide * np.arange(start, end + 1)
        density = count[start:end] / count.sum() / wide
        found.append(Ridge(f"{int(steps[row]):,}", edges, density, style.color))
    return found


def styles_of(variants: Sequence[Variant]) -> dict[Variant, Style]:
    """A look for each variant: its colour by norm and noise, its dashes by learning rate."""
    rates = sorted({variant.lr for variant in variants}, reverse=True)
    labels = list(dict.fromkeys(variant.label for variant in variants))
    styles = styles_for(labels, free_from=len(VARIANT_STYLES))
    colors = dict(zip(labels, styles, strict=True))
    return {v: Style(colors[v.label], rates.index(v.lr)) for v in variants}


def _changes(x: Floats, y: Floats, kind: str) -> tuple[Floats, Floats]:
    return (x[1:], np.abs(np.diff(y))) if kind == "step" else (x, y - y[0])


def _median(lines: Sequence[Line]) -> Line:
    """Over the seeds that have a step."""
    x = np.unique(np.concatenate([line[0] for line in lines]))
    edges = []
    for part in (1, 2):
        table = np.full((len(lines), len(x)), np.nan)
        for row, line in zip(table, lines, strict=True):
            row[np.searchsorted(x, line[0])] = line[part]
        known = np.isfinite(table).any(axis=0)
        middle = np.full(len(x), np.nan)
        middle[known] = np.nanmedian(np.where(np.isfinite(table), table, np.nan)[:, known], axis=0)
        edges.append(middle)
    is_line = all(line[2] is line[1] for line in lines)
    return x, edges[0], edges[0] if is_line else edges[1]


def _curve(label: str, style: Style, line: Line, *, diverged: bool) -> Curve:
    x, low, high = _thinned(*line)
    return Curve(label, style.color, x, low, high, diverged=diverged, dash=style.dash)


def _thinned(x: Floats, low: Floats, high: Floats) -> Line:
    count = -(-len(x) // MOST_POINTS)
    if count <= 1:
        return x, low, high
    starts = np.arange(0, len(x), count)
    sizes = np.diff(np.append(starts, len(x)))
    middle = np.add.reduceat(x, starts) / sizes
    if high is low:
        mean = np.add.reduceat(low, starts) / sizes
        return middle, mean, mean
    return middle, np.fmin.reduceat(low, starts), np.fmax.reduceat(high, starts)


def _paper_style(curve: PaperCurve, styles: Mapping[Variant, Style], rates: Sequence[float]) -> Style | None:
    norm, noisy = VARIANTS.get(curve.legend, ("", False))
    for variant, style in styles.items():
        same = (variant.norm, bool(variant.noise)) == (norm, noisy) and variant.lr in rates
        if same and curve.rate in (None, variant.lr):
            return style
    return None


def _spread(count: int, most: int) -> list[int]:
    """Indices of at most `most` of `count` rows, the first and the last among them."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, most)).round()}) if count else []
